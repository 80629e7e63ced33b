/**
 * Reports to the operator: what somebody wrote, with the proof that they did. A message keeps the signature that came with it
 * inside the encryption, and its conversation the GroupContext of each epoch that one was read in; both are made into a proof only when a
 * person reports that message (protocol/message-proof.ts). Nothing else leaves this device.
 */
import { type MessageProof, chainDevice, decodeContent } from "@sotto/e2ee";
import { encodeMessageProof, fromHex, proves, readMessageProof, toHex } from "@sotto/protocol";
import type { Reported } from "./api.ts";
import type { Connection } from "./connection/connection.ts";
import type { Contacts } from "./contacts.ts";
import { ClientError, refusedBy } from "./errors.ts";
import type { Lookup } from "./lookup.ts";
import { type MessageRow, keys } from "./records.ts";
import type { State, Transaction } from "./state.ts";
import { rfc3339 } from "./timeline.ts";

export interface ReportsOptions {
  state: State;
  contacts: Contacts;
  lookup: Lookup;
  connection: () => Connection;
}

export class Reports {
  readonly #options: ReportsOptions;

  constructor(options: ReportsOptions) {
    this.#options = options;
  }

  /**
   * @throws ClientError `not-reportable` for own messages, and for what this device did not itself receive; what the server
   *   answers
   */
  async report(options: { id: string; note?: string }): Promise<Reported> {
    const { state, contacts, lookup, connection } = this.#options;
    const { message, row } = await lookup.message(options.id);
    const { id, from, conversation } = message;
    const refused = (reason: string) => new ClientError("not-reportable", `report ${id.slice(0, 8)}: ${reason}`);
    if (contacts.nameOf(row.from) === contacts.nameOf(state.account!.account)) throw refused("it is your own message");
    const chain = contacts.chain(row.from);
    const device = chain && chainDevice(chain, row.device);
    const bytes = device && (await this.#proofOf(conversation, row));
    const proof = bytes && readMessageProof(bytes);
    if (!proof || !proves(proof, device.signatureKey))
      throw refused("this device has it from your archive or from another device, without the proof of who wrote it");
    try {
      const { reportedAt } = await connection().request("reportMessage", {
        account: row.from,
        device: row.device,
        proof: bytes,
        ...(options.note === undefined ? {} : { note: options.note }),
      });
      return { id, from, reportedAt: rfc3339(reportedAt) };
    } catch (error) {
      throw refusedBy(`report ${id.slice(0, 8)}`, error);
    }
  }

  async #proofOf(conversation: string, { proof, epoch, content }: MessageRow): Promise<Uint8Array | undefined> {
    if (!proof || epoch === undefined) return undefined;
    const groupContext = await this.#options.state.read(keys.groupContext(conversation, proof.generation, epoch));
    const { leaf, signature } = proof;
    return (
      groupContext &&
      encodeMessageProof({ groupContext, leaf, authenticatedData: new Uint8Array(), content, signature })
    );
  }
}

/** What a row keeps of a message's proof; the rest is its content, its epoch, and the epoch's context. */
export async function keepProof(
  transaction: Transaction,
  at: { conversation: string; generation: number; epoch: number },
  proof: MessageProof,
): Promise<NonNullable<MessageRow["proof"]> | undefined> {
  // We make no messages with authenticated data; one that has some is shown, and cannot be reported.
  if (proof.authenticatedData.length > 0) return undefined;
  const key = keys.groupContext(at.conversation, at.generation, at.epoch);
  if (!(await transaction.get(key))) transaction.put(key, proof.groupContext);
  return { generation: at.generation, leaf: proof.leaf, signature: proof.signature };
}

/** What the operator reads out of a proof, which the server has checked; undefined for what is none. */
export function readReportedMessage(
  proofHex: string,
): { conversation: string; sentAt?: string; kind: string; text?: string } | undefined {
  const bytes = fromHex(proofHex);
  const proof = bytes && readMessageProof(bytes);
  if (!proof) return undefined;
  const content = decodeContent(proof.content);
  return {
    conversation: toHex(proof.conversation),
    kind: content.kind,
    ...("sentAtMs" in content && content.sentAtMs !== undefined ? { sentAt: rfc3339(content.sentAtMs) } : {}),
    ...("text" in content ? { text: content.text } : {}),
  };
}
