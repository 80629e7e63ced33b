import assert from "node:assert/strict";
import { test } from "node:test";
import { formatInviteLink, type InviteLink, parseInviteLink } from "./invite-link.ts";

const link: InviteLink = {
  host: "chat.example.org",
  port: 12345,
  fingerprint: Uint8Array.from({ length: 32 }, (_, i) => i),
  token: Uint8Array.from({ length: 16 }, (_, i) => 255 - i),
};

test("an invite link reads back as what was put in, for names and for IPv4 and IPv6 addresses", () => {
  for (const host of ["chat.example.org", "192.168.1.5", "fe80::1", "localhost"]) {
    const text = formatInviteLink({ ...link, host });
    assert.deepEqual(parseInviteLink(text), { kind: "ok", link: { ...link, host } }, text);
  }
});

test("an invite link says who invites, whatever dots are in the name", () => {
  for (const introducer of ["alice", "a.b-c_d", "x..y"]) {
    const text = formatInviteLink({ ...link, introducer });
    assert.deepEqual(parseInviteLink(`<${text}>`), { kind: "ok", link: { ...link, introducer } }, text);
  }
  for (const wrong of [".al", ".a b!", ".\u0430lice", ".a\u001b[2Jb"])
    assert.equal(parseInviteLink(formatInviteLink(link) + wrong).kind, "invalid", wrong);
});

test("an invite link survives what chats put around it", () => {
  const text = formatInviteLink(link);
  for (const pasted of [
    `  ${text}\n`,
    `<${text}>`,
    `"${text}".`,
    text.replace("https", "sotto"),
    text.replace("/#", "#"),
    text.toUpperCase(),
  ]) {
    assert.deepEqual(parseInviteLink(pasted), { kind: "ok", link }, pasted);
  }
});

test("an invite link without a port means the usual one", () => {
  const parsed = parseInviteLink(formatInviteLink(link).replace(":12345", ""));
  assert.equal(parsed.kind === "ok" && parsed.link.port, 12345);
});

test("a link that is cut or something else is refused with what to do", () => {
  const text = formatInviteLink(link);
  for (const wrong of [
    "",
    "hello",
    "https://chat.example.org/",
    text.slice(0, -1),
    text.slice(0, 60),
    `${text}00`,
    text.replace(".fffe", "-fffe"),
  ]) {
    const parsed = parseInviteLink(wrong);
    assert.equal(parsed.kind, "invalid", wrong);
    assert.match(parsed.kind === "invalid" ? parsed.reason : "", /whole/);
  }
  assert.equal(parseInviteLink(text.replace(":12345", ":99999")).kind, "invalid");
  assert.equal(parseInviteLink(text.replace("chat.", "chat@")).kind, "invalid");
});
