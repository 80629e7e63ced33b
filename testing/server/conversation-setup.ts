/** Two people with a conversation, for tests that begin there. */
import { confirmCommit, createGroup, encrypt, type Group, groupInfo, stageCommit, type Suite } from "@sotto/e2ee";
import {
  type ConversationId,
  createSubmissionId,
  directConversationId,
  type Params,
  type WholeParams,
} from "@sotto/protocol";
import { directoryOf, type Person, random, RawClient, register, rosterOf } from "./raw-client.ts";

export interface Pair {
  readonly alice: Person;
  readonly bob: Person;
  readonly alices: RawClient;
  readonly bobs: RawClient;
  readonly conversation: ConversationId;
}

export async function openPair(
  server: { port: number },
  [first, second]: readonly [string, string] = ["alice", "bob"],
): Promise<Pair> {
  const alices = await RawClient.connect(server);
  const alice = await register(alices, first);
  const bobs = await RawClient.connect(server);
  const bob = await register(bobs, second);
  return { alice, bob, alices, bobs, conversation: directConversationId(alice.account, bob.account) };
}

/** The group of alice alone, not yet on the server. */
export async function makeGroup(
  { alice, bob, conversation }: Pair,
  suite: Suite = 1,
): Promise<{ group: Group; params: WholeParams<"createConversation"> }> {
  const group = await createGroup({
    conversation,
    generation: 0,
    suite,
    account: alice.account,
    device: alice.keys,
    certificate: alice.certificate,
    directory: directoryOf(alice, bob),
    nowMs: Date.now(),
    random,
    roster: rosterOf(alice, bob),
  });
  return {
    group,
    params: { conversation, kind: "direct", suite, peer: bob.account, groupInfo: await groupInfo(group) },
  };
}

/** The conversation on the server with alice alone. */
export async function openConversation(pair: Pair): Promise<Group> {
  const { group, params } = await makeGroup(pair);
  await pair.alices.request("createConversation", params);
  return group;
}

/** The commit that adds bob's device, not yet sent. */
export async function stageAdd(
  pair: Pair,
  group: Group,
  keyPackages?: readonly Uint8Array[],
): Promise<{ next: Group; params: WholeParams<"submitCommit"> }> {
  const { alices, alice, bob, conversation } = pair;
  const add =
    keyPackages ??
    (await alices.request("claimKeyPackages", { account: bob.account, suite: 1 })).keyPackages.map(
      ({ bytes }) => bytes,
    );
  const made = await stageCommit(group, {
    add,
    directory: directoryOf(alice, bob),
    roster: rosterOf(alice, bob),
    nowMs: Date.now(),
  });
  const { commit, groupInfo: info, welcome } = made.staged;
  return {
    next: confirmCommit(made.group, made.staged.id),
    params: { conversation, commit, groupInfo: info, ...(welcome === undefined ? {} : { welcome }) },
  };
}

/** The conversation with both devices in it; alice's group. */
export async function openConversationOfTwo(pair: Pair): Promise<Group> {
  const { next, params } = await stageAdd(pair, await openConversation(pair));
  await pair.alices.request("submitCommit", params);
  return next;
}

export async function makeMessage(
  { conversation, alice, bob }: Pair,
  group: Group,
  text: string,
): Promise<Params<"sendMessage">> {
  const { message } = await encrypt(group, new TextEncoder().encode(text), directoryOf(alice, bob));
  return { conversation, submission: createSubmissionId(random, Date.now()), message };
}
