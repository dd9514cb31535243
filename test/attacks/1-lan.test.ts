/**
 * Layer 1: another machine of the network, played by a network namespace with a veth pair.
 *
 * Both sides live in namespaces of this test, so the machine's own settings are not touched. In the server's one the
 * kernel is then set against us: `route_localnet` and DNAT deliver foreign packets to a listener on 127.0.0.1.
 * Needs root, iproute2 and nftables.
 * Needs root: network namespaces and nftables.
 * @module
 */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { stripped } from '../support/stripped.ts';

const server = `kwyre-srv-${process.pid}`;
const lan = `kwyre-lan-${process.pid}`;
const serverAddress = '10.77.0.1';
const lanAddress = '10.77.0.2';
const addresses = [serverAddress, 'fd77::1'];

function ip(...args: string[]): string {
  return execFileSync('ip', args, { encoding: 'utf8' });
}
function inside(namespace: string, ...command: string[]): string {
  return ip('netns', 'exec', namespace, ...command);
}

type Try = { readonly connected: boolean; readonly text: string; readonly error: string; readonly ended: boolean };

/** Connects from a namespace, sends a whole valid request and tells what came back. */
function attempt(namespace: string, address: string, port: number, request: string): Try {
  const program = `
    const [address, port, request] = process.argv.slice(1);
    const out = { connected: false, text: '', error: '', ended: false };
    const done = () => { console.log(JSON.stringify(out)); process.exit(); };
    const s = require('node:net').connect({ host: address, port: Number(port) });
    s.on('connect', () => { out.connected = true; s.write(request); });
    s.on('data', (d) => { out.text += d; });
    s.on('end', () => { out.ended = true; done(); });
    s.on('error', (e) => { out.error = e.code; done(); });
    setTimeout(done, 1500);`;
  return JSON.parse(inside(namespace, process.execPath, '-e', program, address, String(port), request)) as Try;
}

let host: ChildProcess;
let gateway: { port: number; token: string; pid: number };
const valid = (name = `127.0.0.1:${gateway.port}`) =>
  `GET /health HTTP/1.1\r\nHost: ${name}\r\nAuthorization: Bearer ${gateway.token}\r\n\r\n`;

/** No byte ever reaches the other machine. */
function nothing(result: Try, what: string): void {
  assert.equal(result.text, '', `${what}: ${result.text}`);
}

before(async () => {
  ip('netns', 'add', server);
  ip('netns', 'add', lan);
  ip('link', 'add', 'srv0', 'netns', server, 'type', 'veth', 'peer', 'name', 'lan0', 'netns', lan);
  for (const [namespace, device, four, six] of [
    [server, 'srv0', serverAddress, 'fd77::1'],
    [lan, 'lan0', lanAddress, 'fd77::2'],
  ] as const) {
    ip('-n', namespace, 'link', 'set', 'lo', 'up');
    ip('-n', namespace, 'link', 'set', device, 'up');
    ip('-n', namespace, 'addr', 'add', `${four}/24`, 'dev', device);
    ip('-n', namespace, 'addr', 'add', `${six}/64`, 'dev', device, 'nodad');
  }
  host = spawn(
    'ip',
    [
      'netns',
      'exec',
      server,
      process.execPath,
      '--disable-warning=ExperimentalWarning',
      stripped('test/support/gateway-host.ts'),
    ],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  );
  const [line] = (await once(host.stdout!, 'data')) as [Buffer];
  gateway = JSON.parse(line.toString()) as typeof gateway;
});
after(async () => {
  host.stdin!.end();
  await once(host, 'close');
  ip('netns', 'del', server);
  ip('netns', 'del', lan);
});

test('L1-33 the two hosts reach one another, and the owner reaches the server: the setting itself works', async () => {
  const program =
    "const s = require('node:net').createServer((c) => c.end('hello')).listen(4711, '0.0.0.0', () => console.log('up')); setTimeout(() => process.exit(), 8000)";
  const echo = spawn('ip', ['netns', 'exec', server, process.execPath, '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(echo.stdout, 'data');
  assert.equal(attempt(lan, serverAddress, 4711, 'x').text, 'hello');
  echo.kill();
  assert.match(attempt(server, '127.0.0.1', gateway.port, valid()).text, /^HTTP\/1\.1 200/);
});

test('L1-33 another machine cannot connect to any address of the server (C3)', () => {
  const linkLocal = /inet6 (fe80[0-9a-f:]+)/.exec(ip('-n', server, 'addr', 'show', 'srv0'))?.[1];
  for (const address of [...addresses, ...(linkLocal === undefined ? [] : [`${linkLocal}%lan0`])]) {
    const result = attempt(lan, address, gateway.port, valid());
    assert.equal(result.connected, false, `${address} let us connect`);
    nothing(result, address);
  }
});

test('L1-33 route_localnet and DNAT deliver a foreign packet to us: the connection is closed without a byte (C4)', () => {
  inside(
    server,
    'sysctl',
    '-qw',
    'net.ipv4.conf.all.route_localnet=1',
    'net.ipv4.conf.srv0.route_localnet=1',
    'net.ipv4.ip_forward=1',
  );
  inside(
    server,
    'nft',
    'add table ip kwyre_test; add chain ip kwyre_test pre { type nat hook prerouting priority -100; }',
  );
  inside(
    server,
    'nft',
    `add rule ip kwyre_test pre iifname srv0 tcp dport ${gateway.port} dnat to 127.0.0.1:${gateway.port}`,
  );
  const result = attempt(lan, serverAddress, gateway.port, valid());
  assert.equal(result.connected, true, 'the kernel did not deliver: the attack itself does not work here');
  nothing(result, 'through DNAT');
  assert.ok(result.ended || result.error === 'ECONNRESET', 'closed at once');
  assert.match(
    attempt(server, '127.0.0.1', gateway.port, valid()).text,
    /^HTTP\/1\.1 200/,
    'the owner is still served',
  );
});

test('L1-33 a packet that is sent to 127.0.0.1 from outside is closed without a byte', () => {
  // The other machine sends 127.0.0.1 out on the wire instead of to itself.
  inside(lan, 'sysctl', '-qw', 'net.ipv4.conf.all.route_localnet=1', 'net.ipv4.conf.lan0.route_localnet=1');
  ip('-n', lan, 'addr', 'del', '127.0.0.1/8', 'dev', 'lo');
  ip('-n', lan, 'route', 'add', '127.0.0.1/32', 'via', serverAddress, 'dev', 'lan0', 'src', lanAddress);
  const result = attempt(lan, '127.0.0.1', gateway.port, valid());
  assert.equal(result.connected, true, 'the kernel did not deliver: the attack itself does not work here');
  nothing(result, 'to 127.0.0.1 over the wire');
});

test('L1-33 when an administrator even forges the source to 127.0.0.1, guard and token still stand', () => {
  inside(server, 'nft', 'add chain ip kwyre_test in { type nat hook input priority 100; }');
  inside(server, 'nft', `add rule ip kwyre_test in iifname srv0 tcp dport ${gateway.port} snat to 127.0.0.1`);
  const named = attempt(lan, serverAddress, gateway.port, valid(`${serverAddress}:${gateway.port}`));
  const bare = attempt(
    lan,
    serverAddress,
    gateway.port,
    `GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1:${gateway.port}\r\n\r\n`,
  );
  // Such a relay is a local program as far as anyone can see; what it lacks is the token.
  for (const result of [named, bare])
    assert.ok(result.text === '' || /^HTTP\/1\.1 (401|403)/.test(result.text), result.text);
});
