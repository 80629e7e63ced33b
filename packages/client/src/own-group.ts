/** An MLS group as this device makes it, at the beginning of a conversation and where one is begun anew: epoch 0, its leaf alone. */
import { type Group, type Suite, createGroup, decodeDeviceKeys } from "@sotto/e2ee";
import type { Contacts } from "./contacts.ts";
import type { Platform } from "./platform.ts";
import type { AccountRecord, ConversationRecord } from "./records.ts";

/** @param options.roster encoded */
export function createOwnGroup(options: {
  own: AccountRecord;
  contacts: Contacts;
  platform: Platform;
  conversation: ConversationRecord;
  generation: number;
  roster: Uint8Array;
}): Promise<Group> {
  const { own, contacts, platform, conversation, generation, roster } = options;
  return createGroup({
    conversation: conversation.conversation,
    generation,
    suite: conversation.suite as Suite,
    account: own.account,
    device: decodeDeviceKeys(own.deviceKeys),
    certificate: own.certificate,
    directory: contacts,
    nowMs: platform.clock.now(),
    random: platform.random,
    roster,
  });
}
