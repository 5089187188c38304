// Pays from an account and follows the events of its shard until the payment has settled. It needs no package: node 22
// or later runs it (node 22 before 22.18: with --experimental-strip-types).
//
//   node pay-and-follow.ts --node http://127.0.0.1:26700 --key accounts/alice.json --to ADDRESS --amount 5
//   node pay-and-follow.ts --vector ../vector.json
//
// The second form computes the values of a file of test values, and compares them. The encoding of transactions is in
// docs/wire.md, the API in docs/api.md.

import { createHash, createPrivateKey, createPublicKey, sign } from "node:crypto";
import type { KeyObject } from "node:crypto";
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";

// Amounts and heights have up to 64 bits, so they are texts in JSON and bigint here.
type Input = { tx: string; index: number; amount: bigint };
type Output = { address: string; amount: bigint };
type Body = { network: string; expiryMs: bigint; inputs: Input[]; outputs: Output[]; fee: bigint };
type Key = { secret: KeyObject; publicKey: Buffer; address: string };
type Signed = { encoding: Buffer; signingDigest: Buffer; signature: Buffer; id: string };
type Event = {
  kind: string;
  cursor: string;
  verdict?: { tx: string; result: string; reason?: string };
  settlement?: { tx: string; result: string };
  transaction?: { tx: string; changes: { received: string; spent: string }[] };
  gap?: { from: string; to: string };
  end?: { reason: string; detail: string };
};

// --- transactions

function number(value: bigint | number, bytes: number): Buffer {
  const hex = BigInt(value).toString(16).padStart(2 * bytes, "0");
  if (hex.length > 2 * bytes) throw new Error(`${value} has more than ${8 * bytes} bits`);
  return Buffer.from(hex, "hex");
}

function digest(tag: string, data: Buffer): Buffer {
  return createHash("sha256").update(number(tag.length, 1)).update(tag).update(data).digest();
}

function keyOf(seed: string): Key {
  // An Ed25519 key in PKCS #8 is this prefix and the seed. In SPKI the public key is the last 32 bytes.
  const der = Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), Buffer.from(seed, "hex")]);
  const secret = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  const publicKey = createPublicKey(secret).export({ format: "der", type: "spki" }).subarray(-32);
  return { secret, publicKey, address: digest("bdt/address/1", publicKey).toString("hex") };
}

function homeShard(address: string, shards: number): number {
  return Number((BigInt("0x" + address.slice(0, 16)) * BigInt(shards)) >> 64n);
}

// signBody signs a transaction whose inputs all belong to one key: so it has one signature.
function signBody(body: Body, key: Key): Signed {
  const parts = [number(1, 1), Buffer.from(body.network, "hex"), number(body.expiryMs, 8), number(body.inputs.length, 1)];
  for (const i of body.inputs) {
    parts.push(Buffer.from(i.tx, "hex"), number(i.index, 2), key.publicKey, number(i.amount, 8));
  }
  parts.push(number(body.outputs.length, 1));
  for (const o of body.outputs) {
    parts.push(Buffer.from(o.address, "hex"), number(o.amount, 8));
  }
  parts.push(number(body.fee, 8));
  const unsigned = Buffer.concat(parts);
  const signingDigest = digest("bdt/tx-signing/1", unsigned);
  const signature = sign(null, signingDigest, key.secret);
  const encoding = Buffer.concat([unsigned, signature]);
  return { encoding, signingDigest, signature, id: digest("bdt/tx/1", encoding).toString("hex") };
}

// --- the API

async function call(url: string, init?: RequestInit): Promise<any> {
  const response = await fetch(url, init);
  const body = await response.json();
  if (!response.ok) throw new Error(`${response.status} ${body.title}: ${body.detail}`);
  return body;
}

// transfer chooses outputs of the account and signs.
async function transfer(node: string, status: any, key: Key, to: string, amount: bigint): Promise<Signed> {
  const account = await call(`${node}/v1/accounts/${key.address}?limit=1000`);
  let fee = 0n;
  for (;;) {
    const inputs: Input[] = [];
    let sum = 0n;
    for (const o of account.outputs) {
      if (sum >= amount + fee || inputs.length === 64) break;
      inputs.push({ tx: o.tx, index: o.index, amount: BigInt(o.amount) });
      sum += BigInt(o.amount);
    }
    if (sum < amount + fee) throw new Error(`the account has ${account.balance}, and ${amount + fee} are needed in at most 64 outputs`);
    const outputs: Output[] = [{ address: to, amount }];
    if (sum > amount + fee) outputs.push({ address: key.address, amount: sum - amount - fee });
    const signed = signBody({ network: status.network, expiryMs: BigInt(Date.now() + 60_000), inputs, outputs, fee }, key);
    const least = BigInt(status.least_fee) * BigInt(signed.encoding.length);
    if (fee >= least) return signed;
    fee = least;
  }
}

// follow yields events after a cursor. It connects again when the connection breaks or the replica ends the stream.
async function* follow(node: string, cursor: string, query: string): AsyncGenerator<Event> {
  for (let failures = 0; failures < 10; failures++) {
    try {
      const response = await fetch(`${node}/v1/events?from=${cursor}&${query}`);
      if (!response.ok) throw new Error(`${response.status} ${(await response.json()).detail}`);
      let text = "";
      const decoder = new TextDecoder();
      for await (const bytes of response.body!) {
        text += decoder.decode(bytes, { stream: true });
        for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
          const lines = text.slice(0, end).split("\n");
          text = text.slice(end + 2);
          const field = (name: string) => lines.find((l) => l.startsWith(name + ": "))?.slice(name.length + 2);
          const data = field("data");
          if (data !== undefined) {
            const event: Event = JSON.parse(data);
            if (event.end === undefined) yield event;
          }
          cursor = field("id") ?? cursor; // an id alone moves the cursor too
          failures = 0;
        }
      }
    } catch (error) {
      if (failures === 9) throw error;
    }
    await new Promise((done) => setTimeout(done, 200));
  }
  throw new Error("the replica sends no events");
}

async function pay(node: string, keyFile: string, to: string, amount: bigint): Promise<void> {
  const key = keyOf(JSON.parse(readFileSync(keyFile, "utf8")).seed);
  const status = await call(`${node}/v1/status`);
  const home = homeShard(key.address, status.shards);
  if (home !== status.shard) throw new Error(`the account is in shard ${home}: name a replica of that shard`);
  const tx = await transfer(node, status, key, to, amount);
  const { answers } = await call(`${node}/v1/txs?wait=accepted`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ txs: [tx.encoding.toString("hex")] }),
  });
  if (answers[0].state === "rejected" || answers[0].state === "unknown") {
    throw new Error(`${tx.id} is ${answers[0].state}: ${answers[0].reason} ${answers[0].detail}`);
  }
  console.log("paid", tx.id);
  const query = `kinds=verdict,settlement,transaction&account=${key.address}`;
  for await (const e of follow(node, status.height, query)) {
    if (e.gap) console.log(`the replica lacks heights ${e.gap.from} to ${e.gap.to}`);
    if (e.transaction?.tx === tx.id) {
      const change = e.transaction.changes[0];
      console.log(`${e.cursor} account: spent ${change.spent}, received ${change.received}`);
    }
    if (e.verdict?.tx === tx.id) {
      console.log(`${e.cursor} verdict: ${e.verdict.result} ${e.verdict.reason ?? ""}`);
      if (e.verdict.result === "rejected") throw new Error(`rejected: ${e.verdict.reason}`);
    }
    if (e.settlement?.tx === tx.id) {
      console.log(`${e.cursor} settlement: ${e.settlement.result}`);
      return;
    }
  }
}

// --- test values

function checkVector(path: string): void {
  const v = JSON.parse(readFileSync(path, "utf8"));
  const amounts = (list: any[]) => list.map((x) => ({ ...x, amount: BigInt(x.amount) }));
  const key = keyOf(v.seed);
  const tx = signBody(
    { network: v.network, expiryMs: BigInt(v.expiry_ms), inputs: amounts(v.inputs), outputs: amounts(v.outputs), fee: BigInt(v.fee) },
    key,
  );
  const got: Record<string, string | number> = {
    public_key: key.publicKey.toString("hex"),
    address: key.address,
    home_shard: homeShard(key.address, v.shards),
    signing_digest: tx.signingDigest.toString("hex"),
    signature: tx.signature.toString("hex"),
    encoding: tx.encoding.toString("hex"),
    id: tx.id,
  };
  for (const [name, value] of Object.entries(got)) {
    if (v[name] !== value) throw new Error(`${name} is ${value}, and the file has ${v[name]}`);
  }
  console.log(`${Object.keys(got).length} values agree`);
}

const { values } = parseArgs({
  options: {
    node: { type: "string", default: "http://127.0.0.1:26700" },
    key: { type: "string" },
    to: { type: "string" },
    amount: { type: "string", default: "1" },
    vector: { type: "string" },
  },
});
try {
  if (values.vector !== undefined) {
    checkVector(values.vector);
  } else if (values.key === undefined || values.to === undefined) {
    throw new Error("give --key and --to, or --vector");
  } else {
    await pay(values.node!, values.key, values.to, BigInt(values.amount!));
  }
  process.exit(0); // the stream of events may still be open
} catch (error) {
  console.error("error:", (error as Error).message);
  process.exit(1);
}
