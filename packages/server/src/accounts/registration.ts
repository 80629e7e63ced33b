/**
 * Who may create an account here (docs/protocol.md#registration), and what an account must bring: a chain that says what the
 * request says, vaults that the identity key signed, key packages of the very device.
 */
import {
  type ChainDevice,
  type ChainState,
  decodeChainEntry,
  limits,
  namePattern,
  type Params,
  ProtocolError,
  sameBytes,
  verifyChain,
} from "@sotto/protocol";
import type { Config } from "../config.ts";
import type { Connection } from "../gateway/connection.ts";
import type { Store } from "../store/store.ts";
import { isRootOf } from "./root.ts";

export type Policy = Config["registration"];

interface RegistrationOptions {
  readonly config: Config;
  readonly store: Store;
  readonly now: () => number;
  /** When the data folder was made. */
  readonly createdAt: number;
}

export interface Registration {
  /** What holds for this connection. */
  policyFor(connection: Connection): Policy;
  /**
   * The invite to spend, or undefined where none is needed.
   * @throws ProtocolError `registration-closed`, `invite-needed`, `invite-invalid`
   */
  admit(connection: Connection, invite: Uint8Array | undefined): Promise<Uint8Array | undefined>;
}

export function createRegistration({ config, store, now, createdAt }: RegistrationOptions): Registration {
  const policyFor = (connection: Connection): Policy => {
    const age = now() - createdAt;
    // A clock that was set back must not open the door again.
    const isFirstDay = age >= 0 && age < limits.localRegistrationMs;
    const mayRegisterHere =
      config.registration === "invite" && config.localRegistration && connection.isLocal && isFirstDay;
    return mayRegisterHere ? "open" : config.registration;
  };

  return {
    policyFor,
    async admit(connection, invite) {
      switch (policyFor(connection)) {
        case "closed":
          throw new ProtocolError("registration-closed");
        case "open":
          return undefined;
        case "invite": {
          if (invite === undefined) throw new ProtocolError("invite-needed");
          const known = await store.getInvite(invite);
          if (known === undefined || known.usesLeft < 1 || known.expiresAt <= now())
            throw new ProtocolError("invite-invalid");
          return known.token;
        }
      }
    },
  };
}

// What a chain begins with. Looked at before anything is verified: each signature costs, and whoever registers is a stranger.
const newChainKinds = ["create", "add-device", "root-vault"];

/** @throws ProtocolError `name-invalid` */
export function checkName(name: string): void {
  if (!namePattern.test(name)) throw new ProtocolError("name-invalid");
}

/**
 * The chain and the device that it certifies, if chain and vaults say the same as the request and the identity key signed them.
 * @throws ProtocolError `not-permitted`; a peer is not told which check failed
 */
export function checkNewAccount(params: Params<"finishRegistration">): {
  chain: ChainState;
  certified: ChainDevice;
} {
  const { account, device, name, record, chain: entries, vault } = params;
  const isNewChain =
    entries.length === newChainKinds.length &&
    entries.every((entry, n) => decodeChainEntry(entry)?.body.kind === newChainKinds[n]);
  if (!isNewChain) throw new ProtocolError("not-permitted");
  const verdict = verifyChain(entries);
  if (verdict.kind !== "valid") throw new ProtocolError("not-permitted");
  const { chain } = verdict;
  const [first, ...others] = chain.devices.values();
  const isConsistent =
    sameBytes(chain.account, account) &&
    chain.name === name &&
    first !== undefined &&
    others.length === 0 &&
    first.revokedN === undefined &&
    sameBytes(first.device, device) &&
    isRootOf(chain, vault, record);
  if (!isConsistent) throw new ProtocolError("not-permitted");
  return { chain, certified: first };
}
