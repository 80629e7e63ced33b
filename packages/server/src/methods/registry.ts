/** Every method of the protocol with its file; one that is missing here is a type error. */
import type { MethodName } from "@sotto/protocol";
import type { Services } from "../services.ts";
import { acceptRequest } from "./acceptRequest.ts";
import { addDevice } from "./addDevice.ts";
import { authenticate } from "./authenticate.ts";
import { block } from "./block.ts";
import { claimKeyPackages } from "./claimKeyPackages.ts";
import { createConversation } from "./createConversation.ts";
import { dropBlobs } from "./dropBlobs.ts";
import { finishLogin } from "./finishLogin.ts";
import { finishRecovery } from "./finishRecovery.ts";
import { finishRegistration } from "./finishRegistration.ts";
import { getAccountVault } from "./getAccountVault.ts";
import { getArchive } from "./getArchive.ts";
import { getBlobToken } from "./getBlobToken.ts";
import { getChains } from "./getChains.ts";
import { getGroupInfo } from "./getGroupInfo.ts";
import { getPresence } from "./getPresence.ts";
import { getStructure } from "./getStructure.ts";
import { hello } from "./hello.ts";
import { keepBlobs } from "./keepBlobs.ts";
import { listArchives } from "./listArchives.ts";
import { listBlocked } from "./listBlocked.ts";
import { listDevices } from "./listDevices.ts";
import { logout } from "./logout.ts";
import { lookupAccount } from "./lookupAccount.ts";
import { publishKeyPackages } from "./publishKeyPackages.ts";
import { putAccountVault } from "./putAccountVault.ts";
import { putArchive } from "./putArchive.ts";
import { replaceRoot } from "./replaceRoot.ts";
import { reportBroken } from "./reportBroken.ts";
import { reportMessage } from "./reportMessage.ts";
import { resetConversation } from "./resetConversation.ts";
import { sendMessage } from "./sendMessage.ts";
import { setPresence } from "./setPresence.ts";
import { settle } from "./settle.ts";
import { stageBytes } from "./stageBytes.ts";
import { startLogin } from "./startLogin.ts";
import { startPasswordChange } from "./startPasswordChange.ts";
import { startRecovery } from "./startRecovery.ts";
import { startRegistration } from "./startRegistration.ts";
import { submitCommit } from "./submitCommit.ts";
import { subscribe } from "./subscribe.ts";
import { unblock } from "./unblock.ts";
import { whisper } from "./whisper.ts";
import type { Handler, MethodFile } from "./method.ts";

const files: { readonly [Name in MethodName]: MethodFile<Name> } = {
  hello,
  startRegistration,
  finishRegistration,
  startLogin,
  finishLogin,
  startRecovery,
  finishRecovery,
  authenticate,
  addDevice,
  startPasswordChange,
  replaceRoot,
  listDevices,
  getAccountVault,
  putAccountVault,
  logout,
  lookupAccount,
  getChains,
  publishKeyPackages,
  claimKeyPackages,
  createConversation,
  submitCommit,
  stageBytes,
  getStructure,
  reportBroken,
  resetConversation,
  sendMessage,
  whisper,
  getGroupInfo,
  subscribe,
  putArchive,
  settle,
  getArchive,
  listArchives,
  getBlobToken,
  keepBlobs,
  dropBlobs,
  reportMessage,
  acceptRequest,
  block,
  unblock,
  listBlocked,
  getPresence,
  setPresence,
};

export type Handlers = { readonly [Name in MethodName]: Handler<Name> };

export function createHandlers(services: Services): Handlers {
  return Object.fromEntries(Object.entries(files).map(([name, file]) => [name, file(services)])) as unknown as Handlers;
}
