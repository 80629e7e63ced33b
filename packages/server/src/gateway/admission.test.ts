import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import type { Socket } from "node:net";
import { test } from "node:test";
import { limits } from "@sotto/protocol";
import { createRateLimits } from "../rate-limits.ts";
import { createAdmission } from "./admission.ts";

let port = 0;
const socketFrom = (remoteAddress: string) =>
  Object.assign(new EventEmitter(), {
    remoteAddress,
    remotePort: ++port,
    localAddress: "192.0.2.1",
  }) as unknown as Socket;

const open = (factor = 1) => {
  let nowMs = 0;
  const admission = createAdmission({
    rates: createRateLimits({ monotonicMs: () => (nowMs += 1000), factor: 1 }),
    factor,
  });
  return admission;
};

test("an address may have a few sockets that have not shown who they are, and more as they close or log in", () => {
  const admission = open();
  const sockets = Array.from({ length: limits.unauthenticatedSocketsPerAddressMax }, () => socketFrom("203.0.113.7"));
  for (const socket of sockets) assert.equal(admission.admit(socket), true);
  assert.equal(admission.admit(socketFrom("203.0.113.7")), false);
  assert.equal(admission.admit(socketFrom("203.0.113.8")), true, "others are not concerned");
  sockets[0]!.emit("close");
  assert.equal(admission.admit(socketFrom("203.0.113.7")), true);
  // The TLS socket over the one that was admitted.
  admission.release({
    remoteAddress: "203.0.113.7",
    remotePort: sockets[1]!.remotePort,
    localAddress: "192.0.2.1",
  } as Socket);
  assert.equal(admission.admit(socketFrom("203.0.113.7")), true);
  sockets[1]!.emit("close");
  assert.equal(admission.admit(socketFrom("203.0.113.7")), false, "one socket is taken out once");
});

test("a whole IPv6 network counts as one address, loopback as none", () => {
  const admission = open();
  for (let i = 0; i < limits.unauthenticatedSocketsPerAddressMax; i++)
    assert.equal(admission.admit(socketFrom(`2001:db8::${i}`)), true);
  assert.equal(admission.admit(socketFrom("2001:db8::ffff")), false);
  for (let i = 0; i < 500; i++) assert.equal(admission.admit(socketFrom("::1")), true);
});

test("there is a maximum for everybody together", () => {
  const admission = open();
  for (let i = 0; i < limits.unauthenticatedSocketsMax; i++)
    assert.equal(admission.admit(socketFrom("127.0.0.1")), true);
  assert.equal(admission.admit(socketFrom("127.0.0.1")), false);
  assert.equal(admission.admit(socketFrom("203.0.113.9")), false);
});

test("an address that connects without end is slowed down even if it closes each socket", () => {
  const admission = createAdmission({ rates: createRateLimits({ monotonicMs: () => 0, factor: 1 }), factor: 1 });
  let admitted = 0;
  for (let i = 0; i < 1000; i++) {
    const socket = socketFrom("203.0.113.7");
    if (admission.admit(socket)) admitted++;
    socket.emit("close");
  }
  assert.equal(admitted, 60);
});
