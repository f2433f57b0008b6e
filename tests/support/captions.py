# SPDX-License-Identifier: Apache-2.0
"""Captions as people and models write them: ordinary ones, and ones with a fault that is named.

Boxes are for pictures of 640x480 pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from image_grounding.boxes.geometry import PixelBox


@dataclass(frozen=True)
class Written:
    """A caption, what cleaning made of it, and its phrases with their boxes."""

    caption: str
    phrases: dict[str, Sequence[PixelBox]]
    cleaned: str | None = None


A, B, C = (60, 120, 220, 400), (260, 150, 400, 380), (430, 90, 600, 360)
D, E, F = (100, 60, 160, 130), (300, 40, 350, 110), (480, 380, 560, 450)
SKY, GROUND, WIDE = (0, 0, 640, 170), (0, 300, 640, 480), (0, 210, 640, 300)
WHOLE, CLOSE, LEFT = (0, 0, 640, 480), (0, 20, 640, 480), (0, 0, 230, 480)
MANY = [(i * 30, 200, i * 30 + 25, 300) for i in range(19)]
STRIP, TOP = (0, 468, 640, 480), (0, 0, 640, 13)

ORDINARY = [
    Written("A dog runs across a field of grass", {"A dog": [B], "a field of grass": [GROUND]}),
    Written("A blue sky over a sandy beach", {"A blue sky": [SKY], "a sandy beach": [GROUND]}),
    Written("Two men walk down the road", {"Two men": [A, B], "the road": [(150, 200, 520, 480)]}),
    Written("A close-up of a cat", {"a cat": [CLOSE]}),
    Written("A man stands at a brick wall", {"A man": [B], "a brick wall": [WHOLE]}),
    Written("The kitchen floor is wet", {"The kitchen floor": [STRIP]}),
    Written("Fog above the trees", {"the trees": [TOP]}),
    Written("An audience watches a singer", {"An audience": [A, F, C], "a singer": [E]}),
    Written("A band plays on a stage", {"A band": [A, B, C], "a stage": [GROUND]}),
    Written("A fleet of boats in the harbor", {"A fleet of boats": [D, E]}),
    Written("An array of solar panels on a roof", {"An array of solar panels": [A, B]}),
    Written("A flock of birds in the sky", {"A flock of birds": [D, E, F], "the sky": [WHOLE]}),
    Written("A herd of cows grazes on a hill", {"A herd of cows": [A, B], "a hill": [CLOSE]}),
    Written("A crowd fills the street", {"A crowd": [A, B, C], "the street": [WHOLE]}),
    Written("A row of bikes beside a fence", {"A row of bikes": [A, B], "a fence": [WIDE]}),
    Written("A red pickup with Four wheel drive", {"Four wheel drive": [D]}),
    Written("A man whose shirt is red", {"A man whose shirt is red": [A]}),
    Written("A sign on Main St. in the rain", {"Main St.": [D], "A sign on Main St.": [E]}),
    Written("One dog chases another", {"One dog": [A], "another": [B]}),
    Written("Another boat near the pier", {"Another boat": [B], "the pier": [GROUND]}),
    Written("In the kitchen, a woman cooks", {"a woman": [B], "the kitchen": [WHOLE]}),
    Written("In the park, kids fly a kite", {"kids": [A, B], "a kite": [E]}),
    Written("A plate of cookies on a table", {"A plate of cookies": [B, F], "a table": [CLOSE]}),
    Written("A man riding a wave on a surfboard", {"A man riding a wave": [B], "a wave": [WIDE]}),
    Written("A woman holding an umbrella", {"A woman holding an umbrella": [B]}),
    Written("The man next to the car", {"The man next to the car": [A], "the car": [C]}),
    Written("The girl who wears a hat", {"The girl who wears a hat": [A], "a hat": [D]}),
    Written("A dog that is running", {"A dog that is running": [A]}),
    Written("All the people at the counter", {"All the people": [A, B]}),
    Written("Both the cat and a dog sleep", {"a dog": [B]}),
    Written("A bus stop in front of a bank", {"A bus stop": [A], "a bank": [CLOSE]}),
    Written("A glass of water by the window", {"A glass of water": [E], "the window": [SKY]}),
    Written("A sports watch on a wrist", {"A sports watch on a wrist": [B], "a wrist": [CLOSE]}),
    Written("A ski lift with skiers", {"A ski lift": [A], "skiers": [D, E]}),
    Written("Three sheep in a pasture", {"Three sheep": [A, B, C], "a pasture": [GROUND]}),
    Written("The three children on a swing", {"The three children": [A, B, C]}),
    Written(
        "A two-story house with 2 windows", {"A two-story house": [CLOSE], "2 windows": [D, E]}
    ),
    Written("7:30 on the clock of a tower", {"the clock of a tower": [D], "a tower": [LEFT]}),
    Written("A few apples in a bowl", {"A few apples": [D, E, F], "a bowl": [GROUND]}),
    Written("Several people wait for a train", {"Several people": [A, B, C], "a train": [WIDE]}),
    Written("A dozen eggs in a carton", {"A dozen eggs": [D, E, F], "a carton": [B]}),
    Written("A man and a woman sit on a bench", {"a woman": [B], "a bench": [GROUND]}),
    Written(
        "A tennis player hits the ball", {"A tennis player": [A], "the ball": [(300, 90, 316, 106)]}
    ),
    Written("A giraffe half the size of a tree", {"A giraffe": [A], "a tree": [LEFT]}),
    Written(
        "A young boy with his arms up", {"A young boy with his arms up": [B], "his arms": [D, E]}
    ),
    Written(
        "The back of a woman in a dress", {"a woman in a dress": [B], "a dress": [(*B[:3], 360)]}
    ),
    Written("A pole at the edge of the street", {"A pole": [(600, 0, 640, 480)]}),
    Written("A vase of flowers on the windowsill", {"A vase of flowers": [B]}),
    Written("The player wearing number 10", {"The player wearing number 10": [A]}),
    Written(
        "Traffic lights above a busy street", {"Traffic lights": [D, E], "a busy street": [CLOSE]}
    ),
    Written("A train on the tracks", {"A train": [WIDE], "the tracks": [GROUND]}),
    Written("A surfer carrying the board", {"A surfer carrying the board": [A], "the board": [C]}),
    Written("A person dressed as a clown", {"A person dressed as a clown": [A]}),
    Written("Snow covered mountains", {"Snow covered mountains": [SKY]}),
    Written("A family at the dinner table", {"A family": [A, B, C], "the dinner table": [GROUND]}),
    Written("Twenty people at a rally", {"Twenty people": MANY}),
    Written("We can see a smiling astronaut", {"A smiling astronaut": [B]}, "A smiling astronaut"),
    Written("There is a cup on a saucer.", {"A cup": [B]}, "A cup on a saucer."),
    Written("In this picture, a white cup stands.", {"A white cup": [B]}, "A white cup stands."),
    Written("This is a photo of two dogs", {"Two dogs": [A, B]}, "Two dogs"),
    Written("an old mans walking there", {"An old man": [A]}, "An old man walking"),
    Written("A vedio of a cat which sleep", {"A cat": [A]}, "A cat sleeping"),
    Written("We see 2 boys and a ball", {"Two boys": [A, B]}, "Two boys and a ball"),
    Written("Here we see the Eiffel Tower", {"The Eiffel Tower": [B]}, "The Eiffel Tower"),
    Written("一只橘猫坐在沙发上", {"一只橘猫": [B]}),
    Written("Ein Hund läuft im Park.", {"Ein Hund": [B]}),
]

FAULTY = [
    (
        "not_a_noun_phrase",
        Written(
            "A man rides a brown horse on the beach",
            {"A man rides a brown horse on the beach": [B]},
        ),
    ),
    (
        "not_a_noun_phrase",
        Written("Two dogs run in the park", {"Two dogs run in the park": [A, B]}),
    ),
    ("not_a_noun_phrase", Written("The dog has a red collar", {"The dog has a red collar": [B]})),
    ("not_a_noun_phrase", Written("A woman sits on a bench", {"A woman sits on a bench": [B]})),
    (
        "not_a_noun_phrase",
        Written("The children play with a ball", {"The children play with a ball": [A]}),
    ),
    (
        "not_a_noun_phrase",
        Written("People walk along the road", {"People walk along the road": [A]}),
    ),
    ("not_a_noun_phrase", Written("A boy throws the ball", {"A boy throws the ball": [A]})),
    ("not_a_noun_phrase", Written("The sky is blue", {"The sky is blue": [SKY]})),
    ("not_a_noun_phrase", Written("The cat sleeps", {"The cat sleeps": [B]})),
    (
        "not_a_noun_phrase",
        Written("A girl carries her backpack", {"A girl carries her backpack": [B]}),
    ),
    ("not_a_noun_phrase", Written("They hold it", {"They": [A]})),
    ("not_a_noun_phrase", Written("A dog.", {"A dog runs fast.": [A]})),
    ("number_mismatch", Written("both dogs", {"both dogs": [A]})),
    ("number_mismatch", Written("twenty people at a rally", {"twenty people": [A]})),
    ("number_mismatch", Written("two dogs on a mat", {"two dogs": [A]})),
    ("number_mismatch", Written("the three women", {"the three women": [A, B]})),
    ("number_mismatch", Written("15 sheep", {"15 sheep": [A, B]})),
    ("number_mismatch", Written("a dog in the sun", {"a dog": [A, C]})),
    ("number_mismatch", Written("Both of the boys", {"Both of the boys": [A]})),
    ("lead_in_left", Written("This is a photo of a dog", {"a dog": [A]})),
    ("lead_in_left", Written("Pictured here is a red barn", {"a red barn": [A]})),
    ("lead_in_left", Written("This black and white photo shows a pier", {"a pier": [A]})),
    ("lead_in_left", Written("In this image, a man walks", {"a man": [A]})),
    ("lead_in_left", Written("Here is a bowl of soup", {"a bowl of soup": [A]})),
    ("lead_in_left", Written("There are two cows", {"two cows": [A, B]})),
    ("lead_in_left", Written("Shown here is an old clock", {"an old clock": [A]})),
    ("lead_in_left", Written("A picture of a lake", {"a lake": [A]})),
    ("caption_rewritten", Written("We see a dog on a sofa", {"A cat": [A]}, "A cat on a sofa")),
    (
        "caption_rewritten",
        Written("A red car on a road", {"A blue car": [A]}, "A blue car on a road"),
    ),
    ("caption_rewritten", Written("A man by a boat", {"A woman": [A]}, "A woman by a boat")),
    (
        "caption_rewritten",
        Written("A dog on grass", {"A dog": [A]}, "A dog on grass chasing a ball"),
    ),
    ("caption_rewritten", Written("Holiday 2019", {"a fence": [A]}, "a dog beside a wooden fence")),
    ("border_box", Written("a dog by a tree", {"a dog": [(0, 100, 12, 300)]})),
    ("border_box", Written("a man", {"a man": [(630, 100, 640, 460)]})),
    ("whole_image_box", Written("a spoon in a cup", {"a spoon": [WHOLE]})),
    ("shared_box", Written("a cat and a lamp", {"a cat": [A], "a lamp": [A]})),
]
