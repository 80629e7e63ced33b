import assert from "node:assert/strict";
import { test } from "node:test";
import { checkPassword } from "./password-strength.ts";

test("what is guessed soon is refused, and it is said why", () => {
  for (const [password, why] of [
    ["short", /fewer than 8/],
    ["password", /./],
    ["Passw0rd!", /./],
    ["qwertyuiop", /./],
    ["aaaaaaaaaaaa", /./],
    ["12345678901", /./],
    ["alice-alice-1", /./],
    ["x".repeat(1025), /longer than/],
  ] as const) {
    assert.throws(
      () => checkPassword(password, "alice"),
      (error: { code?: string; kind?: string; message?: string }) => {
        assert.equal(error.code, "password-weak");
        assert.equal(error.kind, "usage");
        assert.match(error.message!, why);
        return true;
      },
      password,
    );
  }
});

test("passphrases, random words and other scripts are taken", () => {
  for (const password of [
    "correct horse battery staple",
    "tR9$kq2!vXz7",
    "мой дядя самых честных правил",
    "🦔🍵🪁🌋🧦🎻🪐🥨",
  ]) {
    checkPassword(password, "alice");
  }
});

test("a password as long as allowed takes no noticeable time", () => {
  const startedAt = performance.now();
  checkPassword("aB3$xY7!pQ9&".repeat(80), "alice");
  assert.ok(performance.now() - startedAt < 500);
});
