// node-postgres: a pool of clients, named statements, streams for COPY, cancel by a second query.
const { Client, Pool } = require("pg");
const { from, to } = require("pg-copy-streams");
const { pipeline } = require("stream/promises");
const { Readable } = require("stream");
const fs = require("fs");
const readline = require("readline");

const ca = process.env.DRIVER_CA;
const options = ca ? { ssl: { ca: fs.readFileSync(ca), servername: "localhost" } } : {};
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const say = (...words) => console.log(words.join(" "));

async function connect() {
  const client = new Client(options);
  client.on("error", () => {});
  await client.connect();
  return client;
}

async function one(client, text, values) {
  const { rows } = await client.query({ text, values, rowMode: "array" });
  return rows.length ? rows[0][0] : undefined;
}

async function state(client, text) {
  try {
    await client.query(text);
  } catch (error) {
    return error.code || error.message;
  }
  return "none";
}

const ASLEEP = "select count(*) from pg_stat_activity" +
  " where query = 'select pg_sleep(20)' and wait_event = 'PgSleep'";
const count = (client) => one(client, "select count(*) from driver_rows");

async function types(client) {
  const { rows, fields } = await client.query({ rowMode: "array", text:
    "select $1::int, $2::int8, $3::text, $4::bytea, 12345.6789::numeric, 1.5::float4," +
    " 0.1::float8, timestamp '2024-02-29 12:34:56.789', timestamptz '2024-02-29 12:34:56+00'," +
    " $5::jsonb, $6::int[], null::int, true",
    values: [42, "9007199254740993", "grüße 'n \\", Buffer.from("deadbeef", "hex"),
             { a: [1, 2] }, [1, null, 3]] });
  rows[0].forEach((value, n) => say("types", fields[n].dataTypeID, JSON.stringify(value)));
}

async function prepared(client) {
  let sum = 0;
  for (let n = 1; n <= 20; n++) {
    const query = { name: "repeated", text: "select $1::int", values: [n], rowMode: "array" };
    sum += (await client.query(query)).rows[0][0];
  }
  say("prepared.repeated", sum);
  const all = [];
  for (let n = 1; n <= 200; n++)
    all.push(client.query({ name: `many ${n}`, text: `select $1::int * ${n}`, values: [1],
                            rowMode: "array" }));
  say("prepared.many", (await Promise.all(all)).reduce((total, r) => total + r.rows[0][0], 0));
}

async function transactions(client) {
  await client.query("begin");
  await client.query("insert into driver_rows values ($1)", [1]);
  await client.query("commit");
  say("transactions.commit", await count(client));
  await client.query("begin");
  await client.query("insert into driver_rows values ($1)", [2]);
  await client.query("rollback");
  say("transactions.rollback", await count(client));
  await client.query("begin");
  say("transactions.error", await state(client, "select 1/0"), await state(client, "select 1"));
  await client.query("rollback");
  say("transactions.after", await count(client));
}

async function copy(client) {
  await client.query("truncate driver_rows");
  const lines = Array.from({ length: 10000 }, (_, n) => `${n + 1}\n`);
  await pipeline(Readable.from(lines), client.query(from("copy driver_rows from stdin")));
  say("copy.in", await one(client, "select sum(n) from driver_rows"));
  let bytes = 0;
  for await (const piece of client.query(to("copy driver_rows to stdout"))) bytes += piece.length;
  say("copy.out", bytes);
  try {
    await pipeline(Readable.from(["x\n"]), client.query(from("copy driver_rows from stdin")));
  } catch (error) {
    say("copy.refused", error.code);
  }
}

// The driver has a cancel request, though no public call for it.
async function cancel(client) {
  const query = state(client, "select pg_sleep(20)");
  const observer = await connect();
  while (await one(observer, ASLEEP) === "0");
  await observer.end();
  const other = new Client(options);
  const connection = other.connection;
  connection.on("error", () => {});
  if (ca) connection.on("connect", () => connection.requestSsl());
  connection.on(ca ? "sslconnect" : "connect",
                () => connection.cancel(client.processID, client.secretKey));
  const end = new Promise((done) => connection.on("end", done));
  connection.connect(client.port, client.host);
  say("cancel", await query);
  await end; // until then another signal may be on its way
  say("cancel.after", await one(client, "select 1"));
}

async function large(client) {
  const text = "x".repeat(Number(process.env.DRIVER_LARGE));
  const { rows } = await client.query("select $1::text t, length($1::text) n", [text]);
  say("large", rows[0].n, rows[0].t === text ? "same" : "different");
}

async function terminated(client) {
  const why = await state(client, "select pg_terminate_backend(pg_backend_pid()), pg_sleep(20)");
  say("terminated", why);
  await client.end();
  const next = await connect();
  say("terminated.after", await one(next, "select 1"));
  await next.end();
}

async function crowd() {
  const pool = new Pool({ ...options, max: 4 });
  await Promise.all(Array.from({ length: 8 }, async () => {
    for (let n = 0; n < 20; n++) {
      const client = await pool.connect();
      await client.query("begin");
      await client.query("insert into driver_rows values ($1)", [0]);
      await client.query("commit");
      client.release();
    }
  }));
  say("crowd", await one(pool, "select count(*) from driver_rows where n = 0"));
  await pool.query("drop table driver_rows");
  await pool.end();
}

async function restart() {
  const pool = new Pool({ ...options, max: 1 });
  pool.on("error", () => {});
  await pool.query("select $1::int", [1]);
  say("ready");
  const input = readline.createInterface({ input: process.stdin });
  await new Promise((done) => input.once("line", done));
  input.close();
  for (let tries = 0; tries < 600; tries++) {
    if ((await state(pool, "select 1")) === "none") {
      say("restart works");
      return pool.end();
    }
    await pause(50);
  }
}

async function main() {
  const client = await connect();
  await client.query("drop table if exists driver_rows; create table driver_rows (n int)");
  await types(client);
  await prepared(client);
  await transactions(client);
  await copy(client);
  await cancel(client);
  await large(client);
  await client.query("truncate driver_rows");
  await terminated(client);
  await crowd();
}

(process.argv[2] === "restart" ? restart() : main()).catch((error) => {
  console.log("FAILED", error.stack);
  process.exit(1);
});
