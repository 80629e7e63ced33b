/** How a method's file looks to dispatch.ts: a function of services that returns the handler. */
import type { AccountId, DeviceId, MethodName, methods, Params, Result } from "@sotto/protocol";
import type { Connection } from "../gateway/connection.ts";
import type { Services } from "../services.ts";
import type { Conversation } from "../store/store.ts";

/** Who asks, as far as the method's row demands it; dispatch.ts has checked. */
export interface Callers {
  anyone: { readonly connection: Connection };
  account: { readonly connection: Connection; readonly account: AccountId };
  device: { readonly connection: Connection; readonly account: AccountId; readonly device: DeviceId };
  reader: {
    readonly connection: Connection;
    readonly account: AccountId;
    readonly device: DeviceId;
  };
  member: {
    readonly connection: Connection;
    readonly account: AccountId;
    readonly device: DeviceId;
    /** The one in the parameters, as it was when the request came. */
    readonly conversation: Conversation;
  };
}

export type CallerOf<Name extends MethodName> = Callers[(typeof methods)[Name]["caller"]];

/** @throws ProtocolError with one of the codes of the method's row */
export type Handler<Name extends MethodName> = (
  params: Params<Name>,
  caller: CallerOf<Name>,
) => Promise<Result<Name>> | Result<Name>;

export type MethodFile<Name extends MethodName> = (services: Services) => Handler<Name>;
