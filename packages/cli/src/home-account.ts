/** Whether the home folder has an account already: what decides between a new device and one that comes back. */
import type { Client, WhoAmI } from "@sotto/client";
import { isClientError } from "./errors.ts";

export async function accountOf(client: Client): Promise<WhoAmI | undefined> {
  try {
    return await client.whoami();
  } catch (error) {
    if (isClientError(error) && error.code === "no-account") return undefined;
    throw error;
  }
}
