/** Ends the device's session until its account proves the password again. */
import type { MethodFile } from "./method.ts";

export const logout: MethodFile<"logout"> =
  ({ store, delivery, blobAccess }) =>
  async (_, { connection, device }) => {
    await store.setDeviceLoggedOut(device, true);
    blobAccess.revoke(device);
    // A device has one session. If it is no longer this one, the device came again while the request waited.
    if (connection.isOpen) connection.endsAfterReply = "logged-out";
    else delivery.endDevice(device, "logged-out");
    return {};
  };
