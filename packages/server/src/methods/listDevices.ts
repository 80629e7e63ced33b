/** The devices of the calling account, as the server knows them; their names are in the chain. */
import type { MethodFile } from "./method.ts";

export const listDevices: MethodFile<"listDevices"> =
  ({ store, delivery }) =>
  async (_, { account }) => ({
    devices: (await store.listDevices(account)).map(({ device, addedAt, lastSeenAt, revokedAt }) => ({
      device,
      addedAt,
      lastSeenAt,
      online: delivery.isDeviceOnline(device),
      revoked: revokedAt !== undefined,
    })),
  });
