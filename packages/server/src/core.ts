/**
 * What a server is behind its doors: store and keys in, frames of connections in and out. Nothing here knows of sockets,
 * certificates or signals: `server.ts` opens the doors, and the simulated world (testing/world) stands in for them.
 */
import { limits, type Random } from "@sotto/protocol";
import { createAttempts } from "./accounts/attempts.ts";
import { createChains } from "./accounts/chains.ts";
import { createLogins } from "./accounts/logins.ts";
import { openOpaque } from "./accounts/opaque.ts";
import { createRecoveries } from "./accounts/recoveries.ts";
import { createRegistration } from "./accounts/registration.ts";
import { type BlobAccess, createBlobAccess } from "./blobs/access.ts";
import { type BlobFiles, createBlobFiles } from "./blobs/blob-files.ts";
import type { Config } from "./config.ts";
import { createGroupInfos } from "./conversations/group-infos.ts";
import { createDelivery, type Delivery } from "./delivery.ts";
import type { DeploymentKey } from "./deployment-key.ts";
import type { Connection } from "./gateway/connection.ts";
import { createDispatch, type Dispatch } from "./gateway/dispatch.ts";
import { Sessions } from "./gateway/sessions.ts";
import { type Log, reportTo, shortKey } from "./log.ts";
import { createHandlers } from "./methods/registry.ts";
import type { Metrics } from "./metrics.ts";
import { createPresence, type Presence } from "./presence.ts";
import type { RateLimits } from "./rate-limits.ts";
import { createRetention } from "./retention.ts";
import { createStaging } from "./staging.ts";
import type { Store } from "./store/store.ts";

export interface CoreOptions {
  readonly config: Config;
  /** The data folder, for the secrets that stand beside the store. */
  readonly folder: string;
  readonly store: Store;
  readonly deploymentKey: DeploymentKey;
  /** When the data folder was first used. */
  readonly createdAt: number;
  readonly rates: RateLimits;
  readonly metrics: Metrics;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** Milliseconds that never go back. */
  readonly monotonicMs: () => number;
  readonly random: Random;
  readonly log: Log;
}

export interface Core extends AsyncDisposable, Dispatch {
  readonly delivery: Delivery;
  readonly blobAccess: BlobAccess;
  readonly blobFiles: BlobFiles;
  /** The connection ended; call it once for each. */
  closed(connection: Connection): void;
}

/** Retention runs from here on. The store stays the caller's to close, after this. @throws ServerError */
export async function openCore(options: CoreOptions): Promise<Core> {
  const { config, folder, store, deploymentKey, createdAt, rates, metrics, now, monotonicMs, random, log } = options;
  const report = reportTo(log);
  await using opened = new AsyncDisposableStack();
  const deployment = deploymentKey.publicKey;
  const opaque = await openOpaque({ folder, store, random, deployment });

  const sessions = new Sessions(config.rateFactor);
  const registration = createRegistration({ config, store, now, createdAt });
  const attempts = createAttempts(rates);
  const logins = createLogins({ store, opaque, attempts, random, monotonicMs });
  const recoveries = createRecoveries({ store, opaque, attempts, deployment, random, monotonicMs });
  const chains = createChains(store);
  const delivery = createDelivery({
    store,
    limits,
    now,
    log: report,
    presenceChanged: (account, online) => presence.changed(account, online),
  });
  const presence: Presence = opened.use(createPresence({ store, delivery, now, log }));
  const staging = createStaging<Connection>({ monotonicMs });
  const groupInfos = createGroupInfos(store);
  const retention = opened.use(createRetention({ store, delivery, limits, now, log: report }));
  retention.start();
  const blobFiles = createBlobFiles(folder);
  const blobAccess = createBlobAccess({ random, now, monotonicMs, factor: config.rateFactor });

  const services = {
    config,
    store,
    delivery,
    sessions,
    deploymentKey,
    opaque,
    logins,
    recoveries,
    chains,
    registration,
    presence,
    staging,
    groupInfos,
    blobAccess,
    blobFiles,
    metrics,
    random,
    now,
    log,
  };
  const handlers = createHandlers(services);
  const dispatch = createDispatch({ handlers, store, rates, metrics, log, monotonicMs });

  const parts = opened.move();
  return {
    ...dispatch,
    delivery,
    blobAccess,
    blobFiles,
    closed(connection) {
      const { identity } = connection;
      if (identity.kind === "device") log.info("device went", { device: shortKey(identity.deviceKey) });
      logins.forget(connection);
      recoveries.forget(connection);
      staging.forget(connection);
      sessions.remove(connection);
    },
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  };
}
