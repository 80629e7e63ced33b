/**
 * The GroupInfo of a conversation's current epoch, read: to decode and verify that of a large group takes a while, and every commit
 * is judged by it. The ones used last are kept, within a bound on the bytes that they were read from.
 */
import { type ConversationId, ProtocolError, toHex } from "@sotto/protocol";
import type { PublicGroupInfo } from "@sotto/protocol/mls-public";
import type { Conversation, Store } from "../store/store.ts";
import { generationOf } from "./group-id.ts";

/** Of a conversation that is in this generation now. */
export interface CurrentGroupInfo {
  readonly generation: number;
  readonly info: PublicGroupInfo;
  /** Of its encoding. */
  readonly size: number;
}

export interface GroupInfos {
  /** Undefined if the conversation has moved on meanwhile. @throws ProtocolError `internal` if what is stored cannot be read */
  current(conversation: Conversation): Promise<PublicGroupInfo | undefined>;
  /** What the conversation has moved on to. */
  keep(conversation: ConversationId, current: CurrentGroupInfo): void;
}

const keptBytesMax = 32 * 1024 * 1024;

export function createGroupInfos(store: Pick<Store, "getGroupInfo" | "readStructure">): GroupInfos {
  /** The one used longest ago first. */
  const kept = new Map<string, CurrentGroupInfo>();
  let bytes = 0;

  function drop(key: string): void {
    bytes -= kept.get(key)?.size ?? 0;
    kept.delete(key);
  }

  function keep(conversation: ConversationId, current: CurrentGroupInfo): void {
    const key = toHex(conversation);
    drop(key);
    kept.set(key, current);
    bytes += current.size;
    for (const oldest of kept.keys()) {
      if (bytes <= keptBytesMax) break;
      drop(oldest);
    }
  }

  return {
    keep,

    async current({ conversation, generation, epoch }) {
      const known = kept.get(toHex(conversation));
      if (known?.generation === generation && known.info.epoch === epoch) {
        keep(conversation, known);
        return known.info;
      }
      const { readGroupInfo } = await import("@sotto/protocol/mls-public");
      const stored = await store.getGroupInfo(conversation, "current");
      const encoded = stored && (await store.readStructure(stored.bytes));
      const info = encoded && (await readGroupInfo(encoded));
      if (info === undefined)
        throw new ProtocolError("internal", { cause: new Error("the stored GroupInfo is unreadable") });
      if (info.epoch !== epoch || generationOf(info.groupId, conversation) !== generation) return undefined;
      keep(conversation, { generation, info, size: encoded!.length });
      return info;
    },
  };
}
