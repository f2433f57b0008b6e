// SPDX-License-Identifier: Apache-2.0
// Elements. Captions, phrases and file names are anybody's text: they only ever become text nodes
// and attribute values, and never markup.
"use strict";

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) {
      node.setAttribute(name, value === true ? "" : value);
    }
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

const el = (tag, attributes = {}, ...children) =>
  fill(document.createElement(tag), attributes, children);

const svg = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS(SVG, tag), attributes, children);

const byId = (id) => document.getElementById(id);

const plain = (name) => name.replaceAll("_", " ");

// An expression's colour and dash: 7 and 4 of them, so that 28 in a row differ in one or the
// other; its number always stands beside them.
const look = (e) => `c${e % 7} d${e % 4}`;
