/**
 * How many people a second can show their password: a full TLS handshake, the upgrade, `hello`, and both halves of an OPAQUE
 * login (RFC 9807), which ends with the account's vaults. The stretching of the password is the client's work and none of the
 * server's; it is as weak here as it can be, and the records are made over the wire as a registration makes them.
 */
import { randomBytes } from "node:crypto";
import { toHex } from "@sotto/protocol";
import { nodePlatform } from "@sotto/client/node";
import { MemoryDisk, openMemoryStorage } from "@sotto/client/testing";
import { type Figures, knobs, startMeter } from "../harness/scenarios.ts";
import { percentile, pool } from "../harness/statistics.ts";
import type { SottoPeer } from "../sotto-peer.ts";
import { LoadClient } from "./client.ts";
import { addPeople, createPerson, type PasswordRecord, type Person } from "./population.ts";

const accounts = 50;
const atOnce = 16;
/** A row of the client's stretchings that is there for benchmarks. */
const stretching = 0;
const password = "correct horse battery staple";

export async function passwordLogins(peer: SottoPeer): Promise<Figures> {
  const { password: opaque } = nodePlatform(await openMemoryStorage(new MemoryDisk()));
  const people = new Map(Array.from({ length: accounts }, (_, i) => [`bench-login${i}`, createPerson()]));
  const passwords = new Map<string, PasswordRecord>();
  const invite = randomBytes(16);
  await peer.change((store) =>
    store.createInvite({ token: invite, usesLeft: accounts, createdAt: Date.now(), expiresAt: Date.now() + 3_600_000 }),
  );
  await pool([...people], atOnce, async ([name, person]) => void passwords.set(name, await register(name, person)));
  await peer.change((store) => addPeople(store, people, passwords));

  async function register(name: string, { account }: Person): Promise<PasswordRecord> {
    const { client, deployment } = await LoadClient.open(peer.address);
    const { state, request } = await opaque.startRegistration(password);
    const { response, setup } = await client.call("startRegistration", { name, account, request, invite });
    const { record } = await opaque.finishRegistration({
      password,
      state,
      response,
      client: toHex(account),
      server: toHex(deployment),
      stretching,
    });
    client.close();
    return { setup, record };
  }

  async function logIn(name: string): Promise<void> {
    const { client, deployment } = await LoadClient.open(peer.address);
    const { state, request } = await opaque.startLogin(password);
    const { login, account, response } = await client.call("startLogin", { name, request });
    const finished = await opaque.finishLogin({
      password,
      state,
      response,
      client: toHex(account),
      server: toHex(deployment),
      stretching,
    });
    if (finished === undefined) throw new Error("the password was refused");
    await client.call("finishLogin", { login, finish: finished.finish });
    client.close();
  }

  const names = [...people.keys()];
  const timesMs: number[] = [];
  const logInUntil = async (endAt: number): Promise<void> => {
    let next = 0;
    await Promise.all(
      Array.from({ length: atOnce }, async () => {
        while (performance.now() < endAt) {
          const startedAt = performance.now();
          await logIn(names[next++ % names.length]!);
          timesMs.push(performance.now() - startedAt);
        }
      }),
    );
  };
  await logInUntil(performance.now() + knobs.warmS * 1000);
  timesMs.length = 0;
  const readMeter = startMeter(peer);
  await logInUntil(performance.now() + knobs.measureS * 1000);
  const meter = readMeter();
  timesMs.sort((a, b) => a - b);
  return {
    logins_per_server_cpu_s: timesMs.length / meter.server,
    logins_per_s: timesMs.length / meter.wallS,
    p50_ms: percentile(timesMs, 50),
    p99_ms: percentile(timesMs, 99),
    server_cpu_pct: meter.serverPct,
    client_cpu_pct: meter.clientPct,
    others_cpu_pct: meter.othersPct,
  };
}
