/** What a server must offer to be measured: itself as processes, and its users as sessions. */
export interface User {
  name: string;
  password: string;
}

/** One authenticated TLS connection. */
export interface Session {
  readonly user: string;
  /** Hands a message to the server and does not wait. */
  send(to: string, payload: string): void;
  /** Hands a message over; resolves when the server told the sender that it has it. */
  sendAcked(to: string, payload: string): Promise<void>;
  /** Called once per message that reaches this user. */
  onMessage: (payload: string) => void;
  joinGroup?(group: string): Promise<void>;
  sendGroup?(group: string, payload: string): void;
  close(): Promise<void>;
}

export interface ConnectOptions {
  /** Ask for the server's acknowledgements to the sender. */
  acks?: boolean;
  /** A second connection of the same user. */
  resource?: string;
  /** `drain`: this login is expected to fetch what was stored. */
  purpose?: "send" | "receive" | "both" | "idle" | "drain";
  /** For `drain`: stored messages may arrive before `connect` has returned. */
  onMessage?: (payload: string) => void;
}

export interface StartContext {
  /** An empty folder that the peer may fill. */
  dataDir: string;
  port: number;
  cert: string;
  key: string;
  ca: string;
  /** The prefix that pins the server to its core. */
  pin: string[];
  env: NodeJS.ProcessEnv;
}

export interface Peer {
  readonly name: string;
  readonly version: string;
  /** What an accepted message survives. */
  readonly guarantee: string;
  readonly config: string;
  /** What one acknowledged send means here. */
  readonly ack: string;
  readonly can: {
    group: boolean;
    offline: boolean;
    /** Receivers ask for news now and then, so that latency has a floor and each of them costs. */
    polls?: boolean;
    /** The largest number of idle connections worth trying, and how many accounts that takes. */
    maxIdle: number;
    idleUsers: number;
  };
  /** Messages in flight for each pair at the peak, where the default is too many for it. */
  readonly window?: number;
  /** Spawns the server; resolves when the process exists. */
  start(context: StartContext): Promise<void>;
  /** The processes whose trees are the server. */
  pids(): number[];
  stop(): Promise<void>;
  createUsers(users: User[]): Promise<void>;
  connect(user: User, options?: ConnectOptions): Promise<Session>;
  /** Whatever a sender and a receiver need before the first message. */
  preparePairs?(pairs: [User, User][]): Promise<void>;
  createGroup?(group: string, owner: Session): Promise<void>;
  /** Makes what was stored visible on disk, where the server only does so now and then. */
  flush?(): Promise<void>;
}
