import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeCbor } from "@sotto/protocol";
import { decodeContent, encodeContent } from "./content.ts";
import { pictureBytesMax, pictureTypeOf } from "./group-picture.ts";

const png = Uint8Array.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 1, 2, 3]);
const jpeg = Uint8Array.from([0xff, 0xd8, 0xff, 0xe0]);
const webp = new TextEncoder().encode("RIFF....WEBPVP8 ");
const frame = { salt: new Uint8Array(16), sentAtMs: 1, head: { n: 1, hash: new Uint8Array(32) } };

test("a picture is what its first bytes say, and nothing else is one", () => {
  assert.deepEqual([png, jpeg, webp].map(pictureTypeOf), ["image/png", "image/jpeg", "image/webp"]);
  for (const text of ["", "<svg xmlns='http://www.w3.org/2000/svg'/>", "GIF89a", "RIFF....WAVE"])
    assert.equal(pictureTypeOf(new TextEncoder().encode(text)), undefined);
});

test("a group's picture travels with its name, up to its limit", () => {
  const full = new Uint8Array(pictureBytesMax);
  full.set(png);
  const read = decodeContent(encodeContent({ ...frame, kind: "profile", name: "Team", picture: full }));
  assert.ok(read.kind === "profile");
  assert.deepEqual(read.picture, full);
  const larger = new Uint8Array(pictureBytesMax + 1);
  larger.set(png);
  for (const picture of [larger, new Uint8Array(8)])
    assert.throws(() => encodeContent({ ...frame, kind: "profile", picture }), { code: "content-too-large" });
});

test("a picture of another type than it says, too large or of none is not taken", () => {
  const larger = new Uint8Array(pictureBytesMax + 1);
  larger.set(png);
  const bodies = [
    { picture: png, pictureType: "image/jpeg" },
    { picture: png },
    { picture: larger, pictureType: "image/png" },
    { picture: new Uint8Array(4) },
    { picture: "text", pictureType: "image/png" },
  ];
  for (const body of bodies) {
    const bytes = encodeCbor([1, frame.salt, "profile", null, null, null, 1, body, { head: [1, frame.head.hash] }]);
    assert.equal(decodeContent(bytes).kind, "malformed");
  }
});
