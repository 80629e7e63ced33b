/**
 * GroupInfo as Sotto publishes it (RFC 9420 §12.4.3): with the tree, the external key and the roster of the epoch, so that
 * who may join needs nothing else. The roster holds no more than the server knows anyway.
 */
import { decodeRoster, rosterHash } from "@sotto/protocol";
import { rosterExtension } from "@sotto/protocol/mls-public";
import { createGroupInfoWithExternalPubAndRatchetTree, encodeMlsMessage, type Extension } from "ts-mls";
import { E2eeError } from "./errors.ts";
import { type EngineState, engineSuite, type Suite } from "./group-engine.ts";
import type { KnownRoster } from "./group-state.ts";

export async function encodeGroupInfo(state: EngineState, suite: Suite, roster: KnownRoster): Promise<Uint8Array> {
  const info = await createGroupInfoWithExternalPubAndRatchetTree(
    state,
    rosterExtensions(roster),
    await engineSuite(suite),
  );
  return encodeMlsMessage({ version: "mls10", wireformat: "mls_group_info", groupInfo: info });
}

export function rosterExtensions(roster: KnownRoster): Extension[] {
  return [{ extensionType: rosterExtension, extensionData: roster.encoded }];
}

/** @throws E2eeError `roster-invalid` */
export function knownRoster(encoded: Uint8Array): KnownRoster {
  const roster = decodeRoster(encoded);
  if (roster === undefined) throw new E2eeError("roster-invalid");
  return { mark: { version: roster.version, hash: rosterHash(encoded) }, encoded: encoded.slice(), roster };
}
