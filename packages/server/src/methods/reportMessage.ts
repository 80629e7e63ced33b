/** Takes a report to the operator, if its proof holds. */
import { proofHash, ProtocolError, proves, readMessageProof, sameBytes } from "@sotto/protocol";
import type { MethodFile } from "./method.ts";

export const reportMessage: MethodFile<"reportMessage"> =
  ({ store, log, now }) =>
  async ({ account, device: writer, proof: bytes, note = "" }, { account: reporter }) => {
    const device = await store.getDevice(writer);
    if (device === undefined || !sameBytes(device.account, account)) throw new ProtocolError("not-found");
    const proof = readMessageProof(bytes);
    if (proof === undefined || !proves(proof, device.signatureKey)) throw new ProtocolError("proof-invalid");
    const outcome = await store.addReport({
      reporter,
      account,
      device: writer,
      hash: proofHash(proof),
      proof: bytes,
      note,
      reportedAt: now(),
    });
    if (outcome.kind === "full") throw new ProtocolError("quota-exceeded");
    if (!outcome.repeated) log.info("a message was reported: `sotto admin reports` shows it");
    return { reportedAt: outcome.reportedAt };
  };
