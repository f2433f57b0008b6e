// SPDX-License-Identifier: Apache-2.0
// Elements. Captions, phrases, replies and file names are untrusted: they become text nodes and
// attribute values, never markup.
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

// The colour and dash of an expression: 7 colours and 4 dashes tell 28 apart; its number is always
// shown too.
const look = (e) => `c${e % 7} d${e % 4}`;
