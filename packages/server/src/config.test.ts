import assert from "node:assert/strict";
import { test } from "node:test";
import { readConfig, settings } from "./config.ts";
import { ServerError } from "./server-error.ts";

test("a server needs nothing but a data folder", () => {
  const config = readConfig({ data: "/tmp/x" });
  assert.equal(config.port, 12_345);
  assert.equal(config.registration, "invite");
  assert.equal(config.localRegistration, true);
  assert.deepEqual(config.hosts, []);
});

test("settings are read as a command line has them", () => {
  const config = readConfig({
    data: "d",
    port: "8443",
    localRegistration: "off",
    hosts: ["Chat.Example.org", "chat.example.org", "::1"],
    rateFactor: "1000",
  });
  assert.equal(config.port, 8443);
  assert.equal(config.localRegistration, false);
  assert.deepEqual(config.hosts, ["chat.example.org", "::1"]);
  assert.equal(config.rateFactor, 1000);
});

test("where the server has a name for people elsewhere, this machine registers nobody without being told to", () => {
  assert.equal(readConfig({ data: "d", hosts: ["chat.example.org"] }).localRegistration, false);
  assert.equal(readConfig({ data: "d", hosts: ["chat.example.org"], localRegistration: "on" }).localRegistration, true);
});

const wrong: [Record<string, unknown>, RegExp][] = [
  [{}, /--data takes/],
  [{ data: "d", port: "x" }, /--port takes .*"x"/],
  [{ data: "d", port: 65_536 }, /--port takes 0 to 65535; it was given 65536/],
  [{ data: "d", hosts: ["https://x"] }, /--host takes a host name or address, without https/],
  [{ data: "d", registration: "maybe" }, /--registration takes open\|invite\|closed; it was given "maybe"/],
  [{ data: "d", log: "xml" }, /--log takes pretty\|json/],
  [{ data: "d", certFile: "c" }, /--cert and --key go together/],
  [{ data: "d", metricsToken: "short" }, /--metrics-token takes at least 16/],
  [{ data: "d", colour: "red" }, /unknown setting "colour"/],
];

for (const [input, message] of wrong) {
  test(`a wrong setting is one line that says what to do: ${JSON.stringify(input)}`, () => {
    assert.throws(
      () => readConfig(input),
      (error) =>
        error instanceof ServerError &&
        error.code === "config-invalid" &&
        message.test(error.message) &&
        !error.message.includes("\n"),
    );
  });
}

test("every setting says what it is for", () => {
  for (const [name, { flag, help }] of Object.entries(settings)) {
    assert.match(flag, /^--[a-z-]+ \S/, name);
    assert.match(help, /^[a-z`]/, name);
  }
});
