/** OPAQUE as it is, but done before anybody waits for it: its WebAssembly is compiled once, ahead of the first world. */
import { ready } from "@serenity-kit/opaque";
import type { Platform } from "@sotto/client";
import { passwordProtocol } from "@sotto/client/testing";

await ready;

export const worldPassword: Platform["password"] = passwordProtocol;
