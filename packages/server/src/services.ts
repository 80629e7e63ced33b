/** What the methods work with. Each method file takes from it what it needs, and no more. */
import type { Random } from "@sotto/protocol";
import type { Chains } from "./accounts/chains.ts";
import type { Logins } from "./accounts/logins.ts";
import type { OpaqueServer } from "./accounts/opaque.ts";
import type { Recoveries } from "./accounts/recoveries.ts";
import type { Registration } from "./accounts/registration.ts";
import type { BlobAccess } from "./blobs/access.ts";
import type { BlobFiles } from "./blobs/blob-files.ts";
import type { GroupInfos } from "./conversations/group-infos.ts";
import type { Config } from "./config.ts";
import type { Delivery } from "./delivery.ts";
import type { DeploymentKey } from "./deployment-key.ts";
import type { Connection } from "./gateway/connection.ts";
import type { Sessions } from "./gateway/sessions.ts";
import type { Log } from "./log.ts";
import type { Metrics } from "./metrics.ts";
import type { Presence } from "./presence.ts";
import type { Staging } from "./staging.ts";
import type { Store } from "./store/store.ts";

export interface Services {
  readonly config: Config;
  readonly store: Store;
  readonly delivery: Delivery;
  readonly sessions: Sessions;
  readonly deploymentKey: DeploymentKey;
  readonly opaque: OpaqueServer;
  readonly logins: Logins;
  readonly recoveries: Recoveries;
  readonly chains: Chains;
  readonly registration: Registration;
  readonly presence: Presence;
  readonly staging: Staging<Connection>;
  readonly groupInfos: GroupInfos;
  readonly blobAccess: BlobAccess;
  readonly blobFiles: BlobFiles;
  readonly metrics: Metrics;
  readonly random: Random;
  readonly log: Log;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}
