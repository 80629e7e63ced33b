/**
 * RFC 9807's vectors against @serenity-kit/opaque, as far as its interface lets them: ristretto255, Argon2id fixed, context
 * not settable, all client randomness drawn inside. What a server computes without drawing anything is compared byte for byte:
 * the registration response, and the evaluated element that opens KE2, also for the fake record.
 *
 * Not checkable, and why: export key, envelope, registration upload (the vectors stretch with the identity function, the
 * library with Argon2id); the rest of KE2 and KE3 (fresh nonces and key shares, another context); the curve25519 and P-256
 * groups (not built in). A whole registration and login is run instead.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { client, ready, server } from "@serenity-kit/opaque";
import { fromHex, joinBytes, toHex } from "@sotto/protocol";
import { absent, readVectors } from "./official.test.ts";

interface Vector {
  config: { Fake: string; Group: string };
  inputs: Record<string, string>;
  outputs: Record<string, string>;
}

const base64url = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64url");
const fromBase64url = (text: string) => new Uint8Array(Buffer.from(text, "base64url"));

/** The library's `serverSetup`: OPRF seed, server private key, client public key of the fake record. */
function serverSetupOf({ inputs }: Vector): string {
  const fakeKey = inputs["client_public_key"] ?? inputs["server_public_key"]!;
  return base64url(
    joinBytes(...[inputs["oprf_seed"]!, inputs["server_private_key"]!, fakeKey].map((hex) => fromHex(hex)!)),
  );
}

function userOf({ inputs }: Vector): string {
  return Buffer.from(inputs["credential_identifier"]!, "hex").toString("latin1");
}

function ristretto(fake: boolean): Vector[] {
  return readVectors<Vector[]>("opaque/rfc9807.json").filter(
    ({ config }) => config.Group === "ristretto255" && config.Fake === (fake ? "True" : "False"),
  );
}

if (absent === false) {
  test("RFC 9807 vectors: the registration response", async () => {
    await ready;
    const vectors = ristretto(false);
    assert.equal(vectors.length, 2);
    for (const vector of vectors) {
      assert.equal(
        toHex(fromBase64url(server.getPublicKey(serverSetupOf(vector)))),
        vector.inputs["server_public_key"],
      );
      const { registrationResponse } = server.createRegistrationResponse({
        serverSetup: serverSetupOf(vector),
        userIdentifier: userOf(vector),
        registrationRequest: base64url(fromHex(vector.outputs["registration_request"]!)!),
      });
      assert.equal(toHex(fromBase64url(registrationResponse)), vector.outputs["registration_response"]);
    }
  });

  test("RFC 9807 vectors: the evaluated element of KE2, with a record and without", async () => {
    await ready;
    const vectors = [...ristretto(false), ...ristretto(true)];
    assert.equal(vectors.length, 3);
    for (const vector of vectors) {
      const upload = vector.outputs["registration_upload"];
      const ke1 = vector.outputs["KE1"] ?? vector.inputs["KE1"]!;
      const { loginResponse } = server.startLogin({
        serverSetup: serverSetupOf(vector),
        userIdentifier: userOf(vector),
        registrationRecord: upload === undefined ? null : base64url(fromHex(upload)!),
        startLoginRequest: base64url(fromHex(ke1)!),
      });
      const ke2 = toHex(fromBase64url(loginResponse));
      assert.equal(ke2.length, vector.outputs["KE2"]!.length);
      assert.equal(ke2.slice(0, 64), vector.outputs["KE2"]!.slice(0, 64));
    }
  });

  test("the file of RFC 9807 has nine vectors, three of them of our group", () => {
    const all = readVectors<Vector[]>("opaque/rfc9807.json");
    assert.equal(all.length, 9);
    assert.equal(all.filter(({ config }) => config.Group === "ristretto255").length, 3);
  });
}

test("a password registers and logs in with one export key; another password does not", async () => {
  await ready;
  const serverSetup = server.createSetup();
  const keyStretching = { "argon2id-custom": { iterations: 1, memory: 1024, parallelism: 1 } } as const;
  const password = "correct horse battery staple";
  const begun = client.startRegistration({ password });
  const { registrationResponse } = server.createRegistrationResponse({
    serverSetup,
    userIdentifier: "account",
    registrationRequest: begun.registrationRequest,
  });
  const { clientRegistrationState } = begun;
  const registered = client.finishRegistration({
    password,
    registrationResponse,
    clientRegistrationState,
    keyStretching,
  });
  const login = (typed: string) => {
    const started = client.startLogin({ password: typed });
    const answered = server.startLogin({
      serverSetup,
      userIdentifier: "account",
      registrationRecord: registered.registrationRecord,
      startLoginRequest: started.startLoginRequest,
    });
    const { clientLoginState } = started;
    return client.finishLogin({
      password: typed,
      loginResponse: answered.loginResponse,
      clientLoginState,
      keyStretching,
    });
  };
  assert.equal(login(password)?.exportKey, registered.exportKey);
  assert.equal(login("incorrect horse"), undefined);
});
