/**
 * The server, put together: data folder and store, keys, the core with its methods and delivery, gateway, control socket.
 * Composition only; what each part does is in its own file. Opening is all or nothing: what was opened is closed again if a
 * later part fails.
 */
import { formatFingerprint, limits, type Random, versions } from "@sotto/protocol";
import { firstInvite, makeInvite, type Reach, rememberReach } from "./accounts/invites.ts";
import { createBlobRequests } from "./blobs/blob-requests.ts";
import { createBlobCollection } from "./blobs/collection.ts";
import { type ConfigInput, readConfig } from "./config.ts";
import { openControl } from "./control.ts";
import { openCore } from "./core.ts";
import { openDataFolder } from "./data-folder.ts";
import { openDeploymentKey } from "./deployment-key.ts";
import { createAdmission } from "./gateway/admission.ts";
import { createGateway } from "./gateway/http.ts";
import { type Log, reportTo, silentLog } from "./log.ts";
import { createMetrics } from "./metrics.ts";
import { createRateLimits } from "./rate-limits.ts";
import { showReports } from "./reports.ts";
import { toServerError } from "./server-error.ts";
import { openSqliteStore } from "./store/sqlite/sqlite-store.ts";
import { systemRandom } from "./system-random.ts";
import { machineHosts, openTls } from "./tls.ts";

const stopWithinMs = 4_000;
/** Counting reads a whole table; whoever scrapes every few seconds must not make the server do that. */
const countsKeptMs = 5 * 60_000;
const createdAtSetting = "created-at";

export interface Surroundings {
  /** Milliseconds since 1970. */
  readonly now?: () => number;
  /** Milliseconds that never go back. */
  readonly monotonicMs?: () => number;
  readonly random?: Random;
  readonly log?: Log;
}

export interface Server extends AsyncDisposable {
  readonly port: number;
  /** What to type into a client or a browser, the best first. */
  readonly addresses: readonly string[];
  /** `SHA256:…`, as people compare it. */
  readonly fingerprint: string;
  /** The absolute path of the data folder. */
  readonly dataFolder: string;
  readonly registration: "open" | "invite" | "closed";
  /** Until when this machine itself may register without an invite, in milliseconds since 1970; undefined if it may not. */
  readonly localRegistrationUntil: number | undefined;
  /** A link that lets one person in, where that takes a link. */
  readonly firstInvite: string | undefined;
  /** What the rate limits are multiplied by; to be shown when it is not 1. */
  readonly rateFactor: number;
  /** Tells everybody, writes what waits, closes; takes five seconds at the most. Again: the same promise. */
  stop(): Promise<void>;
}

/** Starts a server; it takes connections when this resolves. @throws ServerError */
export async function createServer(input: ConfigInput, surroundings: Surroundings = {}): Promise<Server> {
  try {
    return await open(input, surroundings);
  } catch (error) {
    throw toServerError(error);
  }
}

async function open(input: ConfigInput, surroundings: Surroundings): Promise<Server> {
  const {
    now = Date.now,
    monotonicMs = () => performance.now(),
    random = systemRandom,
    log = silentLog,
  } = surroundings;
  const config = readConfig(input);
  await using opened = new AsyncDisposableStack();

  const folder = openDataFolder(config.data);
  const report = reportTo(log);
  const store = opened.use(await openSqliteStore({ folder, log: report }));
  const createdAt = await readCreatedAt(store, now());
  const deploymentKey = await openDeploymentKey(folder, store);
  const tls = opened.use(
    openTls({
      config,
      folder,
      random,
      now,
      log,
      changed(identity) {
        gateway.setIdentity(identity);
        rememberReach(store, reach()).catch((error: unknown) => report("reach-not-saved", { error }));
      },
    }),
  );

  const rates = createRateLimits({ monotonicMs, factor: config.rateFactor });
  const metrics = opened.use(createMetrics());
  const core = opened.use(
    await openCore({ config, folder, store, deploymentKey, createdAt, rates, metrics, now, monotonicMs, random, log }),
  );
  const blobCollection = opened.use(createBlobCollection({ store, files: core.blobFiles, now, log: report }));
  blobCollection.start();
  const admission = createAdmission({ rates, factor: config.rateFactor });
  const gateway = createGateway({
    config,
    admission,
    metrics,
    log,
    tls: () => tls.current,
    blobs: createBlobRequests({
      store,
      files: core.blobFiles,
      access: core.blobAccess,
      now,
      log,
      authenticated: admission.release,
    }),
    received: core.receive,
    closed: core.closed,
    isHealthy: core.isHealthy,
  });
  metrics.gauge("connections", "Open WebSockets.", () => gateway.connections.size);
  metrics.gauge("unsent_bytes", "Bytes that wait for connections which do not read.", () =>
    [...gateway.connections].reduce((sum, connection) => sum + connection.unsentBytes(), 0),
  );
  metrics.gauge("unauthenticated_sockets", "Sockets that have not shown who they are.", () => admission.size);
  metrics.gauge("devices_online", "Devices with a session.", () => core.delivery.counts().sessions);
  metrics.gauge("blob_transfers", "Attachments on their way in or out.", () => core.blobAccess.transfers);
  metrics.gauge("store_commits_total", "Transactions of the store; each is one fsync.", () => store.commits());
  metrics.gauge(
    "accounts",
    "Accounts, counted every few minutes.",
    cached(countsKeptMs, monotonicMs, async () => (await store.stats()).accounts),
  );

  const port = await gateway.listen();
  opened.defer(() => gateway.stop(stopWithinMs));

  const { names, addresses } = machineHosts();
  const hosts =
    config.hosts.length > 0
      ? config.hosts
      : [...addresses.filter((address) => !address.includes(":")), ...names, "localhost"];
  const reach = (): Reach => ({ host: hosts[0] ?? "localhost", port, fingerprint: tls.current.spkiSha256 });
  await rememberReach(store, reach());
  const shown = [...new Set([...config.hosts, ...addresses, ...names, "localhost"])];
  const urls = shown.map((host) => `https://${host.includes(":") ? `[${host}]` : host}:${port}`);
  const startedAt = now();
  const source = { store, random, now };
  opened.use(
    await openControl(
      folder,
      {
        invite: async (terms) => ({ link: await makeInvite(source, reach(), terms) }),
        reports: async ({ after }) => ({ reports: await showReports(store, after) }),
        deleteReports: ({ upTo }) => store.deleteReports(upTo),
        status: async () => ({
          pid: process.pid,
          version: versions[0],
          startedAt,
          addresses: urls,
          fingerprint: formatFingerprint(tls.current.spkiSha256),
          registration: config.registration,
          connections: gateway.connections.size,
          devicesOnline: core.delivery.counts().sessions,
          ...(await store.stats()),
        }),
      },
      log,
    ),
  );

  log.info("listening", { port });
  if (config.rateFactor !== 1) log.warn("limits are raised, for benchmarks only", { factor: config.rateFactor });

  const localUntil = createdAt + limits.localRegistrationMs;
  const mayRegisterHere = config.registration === "invite" && config.localRegistration && now() < localUntil;
  const invite = config.registration === "invite" ? await firstInvite(source, reach()) : undefined;

  const parts = opened.move();
  let stopped: Promise<void> | undefined;
  const stop = () => (stopped ??= parts.disposeAsync());
  return {
    port,
    addresses: urls,
    get fingerprint() {
      return formatFingerprint(tls.current.spkiSha256);
    },
    dataFolder: folder,
    registration: config.registration,
    localRegistrationUntil: mayRegisterHere ? localUntil : undefined,
    firstInvite: invite,
    rateFactor: config.rateFactor,
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

/** When the data folder was first used. */
async function readCreatedAt(
  store: {
    getSetting(key: string): Promise<Uint8Array | undefined>;
    putSetting(key: string, value: Uint8Array): Promise<void>;
  },
  nowMs: number,
): Promise<number> {
  const known = await store.getSetting(createdAtSetting);
  if (known !== undefined) return Number(Buffer.from(known).toString());
  await store.putSetting(createdAtSetting, Buffer.from(String(nowMs)));
  return nowMs;
}

/** The value of `read`, read again when it is older than `keepMs`. */
function cached<T>(keepMs: number, monotonicMs: () => number, read: () => Promise<T>): () => Promise<T> {
  let value: Promise<T> | undefined;
  let readMs = 0;
  return () => {
    if (value === undefined || monotonicMs() - readMs > keepMs) {
      readMs = monotonicMs();
      value = read();
      value.catch(() => (value = undefined));
    }
    return value;
  };
}
