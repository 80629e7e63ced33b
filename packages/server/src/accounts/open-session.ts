/** Makes a connection the session of a device that has proved itself. */
import { type AccountId, type DeviceId, ProtocolError, toHex } from "@sotto/protocol";
import type { Connection } from "../gateway/connection.ts";
import { shortKey } from "../log.ts";
import type { Services } from "../services.ts";

/** @throws ProtocolError `busy` if the account has as many sessions as it may, `device-refused` if it was just revoked */
export function openSession(
  { sessions, delivery, log }: Pick<Services, "sessions" | "delivery" | "log">,
  connection: Connection,
  account: AccountId,
  device: DeviceId,
): void {
  // The connection may have ended, or become a session, while the device proved itself.
  if (!connection.isOpen || connection.identity.kind === "device") throw new ProtocolError("not-permitted");
  // Ids are views into the frame that brought them; these stay.
  const identity = {
    account: account.slice(),
    accountKey: toHex(account),
    device: device.slice(),
    deviceKey: toHex(device),
  };
  if (sessions.isRevoked(identity.deviceKey)) throw new ProtocolError("device-refused");
  if (!sessions.hasRoom(identity.accountKey, identity.deviceKey)) throw new ProtocolError("busy");
  const session = delivery.attach({
    account: identity.account,
    device: identity.device,
    send: (frame) => connection.send(frame),
    unsentBytes: () => connection.unsentBytes(),
    end: (reason) => connection.end(reason),
  });
  sessions.add(identity.accountKey, connection);
  connection.becomeDevice({ kind: "device", ...identity, delivery: session });
  log.info("device came", { device: shortKey(identity.deviceKey) });
}
