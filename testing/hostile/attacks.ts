/**
 * What has hit messengers, ranked, and the tests that play it here. The list comes from published advisories and analyses; a row
 * names tests by file and title, or says what is missing until it can be played. attacks.test.ts checks that they are there.
 */
export interface CoveringTest {
  readonly file: string;
  /** As it stands in the file, or its beginning. */
  readonly title: string;
}

export interface Attack {
  readonly n: number;
  readonly what: string;
  readonly tests: readonly CoveringTest[];
  /** What is not played yet, and why. */
  readonly open?: string;
}

const by = (file: string, ...titles: string[]): CoveringTest[] => titles.map((title) => ({ file, title }));
const server = "testing/server";
const engine = "testing/engine";
const e2ee = "packages/e2ee/src";
const lies = by("testing/hostile/lies.test.ts", "whatever lies a server tells, nothing false is shown");
const world = by("testing/world/world.test.ts", "in every world all promises hold, whatever fails and whoever dies");
const fuzz = by("testing/fuzz/fuzz.test.ts", "no input makes a decoder fail in a way that it does not tell of");
const planned = {
  web: "the web client is not built yet",
  cluster: "one server process so far: no cluster to play it on",
};

export const attacks: readonly Attack[] = [
  {
    n: 1,
    what: "acknowledged messages are lost in a power cut",
    tests: by(
      "testing/crash/power-cut.test.ts",
      "takes nothing that was acknowledged, breaks nothing and doubles nothing",
      "takes what was acknowledged from a store that does not wait for the disk",
    ),
  },
  {
    n: 2,
    what: "the server adds a member or a device in silence",
    tests: [
      ...by(
        `${e2ee}/group.test.ts`,
        "a ghost device, forged by the server or a member, is refused wherever it would enter",
      ),
      ...by(
        `${engine}/hostile-server.test.ts`,
        "a Welcome with a third account, with a ghost, or into another conversation",
      ),
      ...lies,
    ],
  },
  {
    n: 3,
    what: "the directory hands out another's key package or identity",
    tests: by(
      `${engine}/hostile-server.test.ts`,
      "another device in the place of the other side's is not let in, and nothing is sent to it",
      "another account, or a chain that does not follow, under a name is a security stop",
    ),
  },
  {
    n: 4,
    what: "members are split by two commits, or stuck behind one that nobody can follow",
    tests: [
      ...by(`${engine}/broken-groups.test.ts`, "what nobody can follow throws nobody out"),
      ...by(`${e2ee}/group.test.ts`, "rule 2: the log decides who won; the loser follows the winner with nothing lost"),
      ...lies,
    ],
  },
  {
    n: 5,
    what: "rejoining by itself is used to undo the healing of keys",
    tests: [
      ...by(
        `${e2ee}/group.test.ts`,
        "rule 8: a GroupInfo older than what the client knows, or of another group, is refused",
      ),
      ...by(`${engine}/hostile-groups.test.ts`, "a new device is not shown an older group than the account has seen"),
    ],
  },
  {
    n: 6,
    what: "the server names another sender",
    tests: by(
      `${e2ee}/group.test.ts`,
      "rule 3: the sender is the leaf that signed",
      "rule 3: a member who claims another's leaf",
    ),
  },
  {
    n: 7,
    what: "bytes of one purpose are taken for another; a key changes between check and use",
    tests: [
      ...by("packages/protocol/src/signed.test.ts", "no two purposes share their signed bytes, whatever is signed"),
      ...by(`${engine}/hostile-server.test.ts`, "entries of a kind that they are not, and commits made of nothing"),
    ],
  },
  {
    n: 8,
    what: "history keys go to a device that nobody allowed",
    tests: [
      ...by(
        `${e2ee}/device-seal.test.ts`,
        "the server, which knows all public keys, cannot make a device take a key of its own",
      ),
      ...by(
        `${engine}/new-device-removed.test.ts`,
        "a removed device with its whole disk, the whole log and a server's help",
      ),
    ],
  },
  {
    n: 9,
    what: "points of low order",
    tests: [
      ...by(`${e2ee}/vectors/wycheproof.test.ts`, "Wycheproof vectors"),
      ...by(
        "packages/protocol/src/signed.test.ts",
        "a signature of another shape, or by a key of small order, is no signature",
      ),
    ],
  },
  {
    n: 10,
    what: "tags are compared without their length",
    tests: [
      ...by(`${e2ee}/vectors/wycheproof.test.ts`, "Wycheproof vectors"),
      ...by(`${engine}/hostile-server.test.ts`, "bytes that are cut off, flipped or made up are passed over"),
    ],
  },
  {
    n: 11,
    what: "a key and nonce serve twice after a crash or from a copied store",
    tests: [
      ...by("testing/crash/client-kill.test.ts", "a client that dies in any of its writes"),
      ...by(`${engine}/home-sharing.test.ts`, "a copied home folder is noticed: whichever comes second is refused"),
      ...world,
    ],
  },
  {
    n: 12,
    what: "methods answer for somebody else's ids",
    tests: by(`${server}/authorization.test.ts`, "is turned away before it"),
  },
  {
    n: 13,
    what: "a session lives on after its device was revoked",
    tests: [
      ...by(
        `${server}/devices.test.ts`,
        "removing a device cuts its live session within a second, and it comes back no more",
      ),
      ...by(`${server}/blobs.test.ts`, "a removed device's token is worth nothing at once, and what it moves is cut"),
    ],
  },
  {
    n: 14,
    what: "connections that never log in take memory",
    tests: by(
      `${server}/limits.test.ts`,
      "before login a connection may send little",
      "an address has few sockets until it logs in",
      "who says nothing in time is cut",
    ),
    open: "memory is bounded by what each connection may hold and how many there may be; a hundred thousand connects are not played",
  },
  {
    n: 15,
    what: "tiny fragments, giant lengths, frames without end",
    tests: by(
      `${server}/limits.test.ts`,
      "an oversized frame, tiny fragments and a frame without end close the connection",
    ),
  },
  {
    n: 16,
    what: "objects in the place of strings, and injected SQL",
    tests: by(`${server}/nonsense.test.ts`, "no parameters make a method meet a bug"),
  },
  { n: 17, what: "scripts in messages reach the page", tests: [], open: planned.web },
  {
    n: 18,
    what: "escape sequences reach the terminal",
    tests: [
      ...by("packages/cli/src/printable.test.ts", "whatever it is, what is shown is on the allow-list"),
      ...by("packages/cli/src/hostile-fields.test.ts", "nothing that acts on a terminal comes out of"),
    ],
  },
  { n: 19, what: "a dependency turns", tests: [], open: "versions are pinned with their hashes; nothing plays it yet" },
  {
    n: 20,
    what: "a reader by cursor skips what was committed late",
    tests: by(
      "packages/server/src/delivery.test.ts",
      "whatever happens, every connection has no gaps and no duplicates",
    ),
    open: planned.cluster,
  },
  {
    n: 21,
    what: "somebody's key packages are used up",
    tests: by(
      `${server}/conversations.test.ts`,
      "key packages are handed out once, then the last resort, and the device hears that they run low",
    ),
  },
  {
    n: 22,
    what: "a key package is handed out twice",
    tests: by(`${server}/conversations.test.ts`, "key packages are handed out once, then the last resort"),
  },
  {
    n: 23,
    what: "the server replays, reorders, drops, or moves between conversations",
    tests: [
      ...by(
        `${engine}/hostile-server.test.ts`,
        "entries that come twice, or in the wrong order, are shown once and in order",
        "a message of another conversation is not taken",
        "an entry kept back for good is missed aloud, and the rest arrives",
      ),
      ...lies,
    ],
  },
  {
    n: 24,
    what: "a member replays another's message",
    tests: [
      ...by("packages/client/src/timeline.test.ts", "the same content is shown once, whatever place it claims"),
      ...by(
        `${engine}/hostile-groups.test.ts`,
        "what a member says about others' messages, about the group or about the future",
      ),
    ],
  },
  {
    n: 25,
    what: "names are enumerated, by answers or by time",
    tests: by(
      `${server}/accounts.test.ts`,
      "the password brings the vaults, a wrong one and an unknown name the same answer",
      "a wrong password and an unknown name take about as long",
    ),
  },
  {
    n: 26,
    what: "passwords are guessed, or owners locked out by guessing",
    tests: by(
      `${server}/accounts.test.ts`,
      "guessing is slowed down whether or not the second half is sent, and devices are not concerned",
      "behind a port forward on this machine the owner's login opens the door to no guesser",
    ),
  },
  {
    n: 27,
    what: "passwords and texts stand in the store or the log",
    tests: by("testing/end-to-end/nobody-reads-along.test.ts", "not in the server's data folder, also after a kill"),
  },
  {
    n: 28,
    what: "a page of another origin connects",
    tests: by(`${server}/limits.test.ts`, "a page of another origin may not connect, one of ours may"),
  },
  {
    n: 29,
    what: "one account is proved and another one named",
    tests: by(`${server}/accounts.test.ts`, "a device proves itself by its key, on this connection, as itself"),
  },
  {
    n: 30,
    what: "file names lead out of their folder",
    tests: [
      ...by(`${engine}/attachments.test.ts`, "files with a caption arrive as they were, under harmless names"),
      ...by(`${server}/blobs.test.ts`, "what is no request for a blob is refused as such"),
    ],
  },
  {
    n: 31,
    what: "the server is made to ask for addresses",
    tests: [],
    open: "the server makes no requests; nothing plays it",
  },
  {
    n: 32,
    what: "what is small becomes large when it is unpacked",
    tests: fuzz,
    open: "nothing is ever unpacked: no deflate on the wire, no media decoded",
  },
  {
    n: 33,
    what: "one malformed entry stops everything behind it",
    tests: [
      ...by("packages/client/src/sync.test.ts", "one event that brings out a bug is passed over"),
      ...by(`${engine}/hostile-server.test.ts`, "whatever the other side writes, it is shown or passed over"),
      ...by("packages/client/src/sync.test.ts", "entries of a conversation into which nothing led are acknowledged"),
    ],
  },
  {
    n: 34,
    what: "one user starves the others",
    tests: [
      ...by(
        `${server}/costly-requests.test.ts`,
        "one connection gets few pages, so that pages cost what connections cost",
      ),
      ...by("packages/server/src/gateway/dispatch.test.ts", "who asks on without waiting is cut off"),
      ...by("testing/hostile/floods.test.ts", "while others flood, honest messages are taken in their order"),
    ],
  },
  {
    n: 35,
    what: "Node itself is crashed by what it parses",
    tests: by(`${server}/nonsense.test.ts`, "bytes of no meaning close the connection and no other"),
  },
  {
    n: 36,
    what: "somebody in between has a valid certificate",
    tests: by(
      "testing/end-to-end/what-people-get-wrong-is-said.test.ts",
      "a server with another key: 6, nothing is sent",
    ),
  },
  {
    n: 37,
    what: "connections that say or read next to nothing",
    tests: [
      ...by(`${server}/limits.test.ts`, "a client that does not read is cut, and the others are served"),
      ...by(
        "packages/server/src/gateway/connection.test.ts",
        "a connection of which nothing is heard is cut after two pings",
      ),
    ],
  },
  {
    n: 38,
    what: "the disk is full or fails, descriptors run out",
    tests: by("testing/crash/faults.test.ts", "outlives a full disk, a failing one and steps of its clock"),
  },
  {
    n: 39,
    what: "clocks jump",
    tests: [
      ...by(
        `${engine}/expiring-messages.test.ts`,
        "a clock that is wrong by hours neither loses a message nor keeps it",
      ),
      ...by(`${engine}/hostile-server.test.ts`, "times that cannot be do no harm"),
      ...world,
    ],
  },
  {
    n: 40,
    what: "the server comes back from a backup",
    tests: [
      ...by(`${engine}/restored-server.test.ts`, "what is written after a restore is read by a device"),
      ...by(`${engine}/hostile-server.test.ts`, "a server that says its log ends earlier, or has expired, is told of"),
    ],
  },
  {
    n: 41,
    what: "receipts tell strangers who is there",
    tests: by(
      `${engine}/people.test.ts`,
      "a stranger's messages wait as a request on every device, and nothing tells them",
    ),
  },
  {
    n: 42,
    what: "names that look like others",
    tests: [
      ...by(`${server}/accounts.test.ts`, "a name is taken once, and only names that follow the rules"),
      ...by("packages/cli/src/program.test.ts", "a message cannot pose as another one or act on the terminal"),
    ],
  },
  {
    n: 43,
    what: "an older suite or version is forced",
    tests: by(
      "packages/client/src/connection/session.test.ts",
      "a refusal of all versions and a given-up attempt say so",
    ),
  },
  {
    n: 44,
    what: "compression before encryption tells what is inside",
    tests: by(`${e2ee}/group.test.ts`, "rule 6: messages are padded to 256, 512, 1 k, 2 k bytes"),
  },
  { n: 45, what: "a restore goes wrong by hand", tests: [], open: "`sotto admin restore` is not built yet" },
];

/** The lies of a server that have names of their own; the others are generated, kind by kind and subject by subject (lies.ts). */
export const namedLies: readonly { readonly lie: string; readonly tests: readonly CoveringTest[] }[] = [
  {
    lie: "a ghost device",
    tests: [
      ...by(
        `${e2ee}/group.test.ts`,
        "a ghost device, forged by the server or a member, is refused wherever it would enter",
      ),
      ...by(`${engine}/new-device-lied-to.test.ts`, "devices are listed as the account's chain has them"),
    ],
  },
  {
    lie: "a ghost member",
    tests: by(`${engine}/hostile-server.test.ts`, "a Welcome with a third account, with a ghost"),
  },
  {
    lie: "a swapped key",
    tests: by(`${engine}/hostile-server.test.ts`, "another device in the place of the other side's is not let in"),
  },
  {
    lie: "a stale GroupInfo",
    tests: by(`${engine}/hostile-groups.test.ts`, "a new device is not shown an older group than the account has seen"),
  },
  {
    lie: "different safety numbers",
    tests: by(`${engine}/hostile-server.test.ts`, "what the server hides of somebody stops all sending there"),
  },
  {
    lie: "a shorter or another chain",
    tests: by(
      `${engine}/new-device-lied-to.test.ts`,
      "a contact's chain that is shorter than the vault remembers, or another",
    ),
  },
  {
    lie: "an archive with chunks changed, left out or moved",
    tests: by(`${engine}/hostile-archive.test.ts`, "a server that shows one conversation's chunks in another is named"),
  },
  {
    lie: "an account vault that is older, or nobody's",
    tests: by(
      `${engine}/new-device-lied-to.test.ts`,
      "an account vault older than the one that was seen is said aloud",
      "account data that no device of the account signed is refused",
    ),
  },
  {
    lie: "another group in the place of one",
    tests: by(`${engine}/hostile-server.test.ts`, "a group in the place of another that is not for the same people"),
  },
  {
    lie: "attachments that were changed",
    tests: by(`${engine}/attachments.test.ts`, "bytes that the server changed are refused, and leave nothing behind"),
  },
];
