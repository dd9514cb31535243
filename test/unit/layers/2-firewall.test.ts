/**
 * The firewall rules as data: what they block, and which rules count as Kwyre's.
 * @module
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Firewall } from '../../../src/layers/2-isolation/install/firewall.ts';
import {
  judgeOwnership,
  nftScript,
  planRules,
  restoreScripts,
} from '../../../src/layers/2-isolation/install/firewall.ts';

const nft: Firewall = { kind: 'nft', nft: '/usr/sbin/nft' };
const iptables: Firewall = {
  kind: 'iptables',
  iptables: '/usr/sbin/iptables',
  restore: '/usr/sbin/iptables-restore',
  ip6tables: '/usr/sbin/ip6tables',
  restore6: '/usr/sbin/ip6tables-restore',
};
const guarded = { uid: 995, port: 8000 };

test('C7 the last rule of the user rejects everything, and only replies are accepted before it', () => {
  const lines = nftScript(guarded)
    .split('\n')
    .filter((line) => line.includes('skuid 995'));
  assert.equal(lines.length, 2);
  assert.match(
    lines[0]!,
    /oifname "lo" ip saddr 127\.0\.0\.1 .*tcp sport 8000 ct state established ct direction reply accept/,
  );
  assert.match(lines[1]!, /^ *meta skuid 995 reject /);
  for (const script of Object.values(restoreScripts(guarded)))
    assert.match(
      script
        .split('\n')
        .filter((line) => line.startsWith('-A'))
        .at(-1)!,
      /^-A KWYRE-ISOLATE -m owner --uid-owner 995 .* -j REJECT/,
    );
});

test('C7 a rule for root or for an invalid port is a bug', () => {
  for (const wrong of [
    { uid: 0, port: 8000 },
    { uid: -1, port: 8000 },
    { uid: 995, port: 0 },
    { uid: 995, port: 65536 },
    { uid: Number.NaN, port: 1 },
  ]) {
    assert.throws(() => nftScript(wrong), /BUG/);
    assert.throws(() => restoreScripts(wrong), /BUG/);
  }
});

test('C7 commands have absolute paths, and arguments that need no quoting', () => {
  for (const firewall of [nft, iptables]) {
    const { load, unload, witness } = planRules(firewall, guarded);
    for (const { argv } of [...load, ...unload, ...witness]) {
      assert.match(argv[0]!, /^\/usr\/sbin\//);
      for (const word of argv) assert.match(word, /^[A-Za-z0-9_./=-]+$/);
    }
  }
});

const listed = (...entries: unknown[]) => [JSON.stringify({ nftables: [{ metainfo: {} }, ...entries] })];
const table = { table: { family: 'inet', name: 'kwyre' } };
const chain = (name: string) => ({ chain: { family: 'inet', table: 'kwyre', name } });
const rule = (comment?: string) => ({ rule: { family: 'inet', table: 'kwyre', chain: 'isolate_output', comment } });

test('C7 nftables: a table with another chain or an unmarked rule is foreign', () => {
  const judge = (...entries: unknown[]) => judgeOwnership(nft, listed(...entries));
  assert.equal(judge(), 'absent');
  assert.equal(judge({ table: { family: 'ip', name: 'kwyre' } }), 'absent');
  assert.equal(judge(table, chain('isolate_output'), rule('kwyre-isolate: answers')), 'own');
  assert.equal(judge(table, chain('isolate_output')), 'own', 'an emptied chain is still ours to fill');
  assert.equal(judge(table), 'foreign');
  assert.equal(judge(table, chain('theirs')), 'foreign');
  assert.equal(judge(table, chain('isolate_output'), rule()), 'foreign');
  assert.equal(
    judge(table, chain('isolate_output'), { set: { family: 'inet', table: 'kwyre', name: 'x' } }),
    'foreign',
  );
  for (const broken of ['', 'no json', '{}', '{"nftables":1}']) assert.equal(judgeOwnership(nft, [broken]), 'foreign');
});

test('C7 iptables: a rule without the mark is foreign', () => {
  const jump = '-A OUTPUT -m comment --comment kwyre-isolate -j KWYRE-ISOLATE';
  const judge = (...lines: string[]) =>
    judgeOwnership(iptables, [['-P OUTPUT ACCEPT', ...lines].join('\n'), '-P OUTPUT ACCEPT\n']);
  assert.equal(judge(), 'absent');
  assert.equal(judge('-N KWYRE-ISOLATE', jump, '-A KWYRE-ISOLATE -m comment --comment kwyre-isolate -j REJECT'), 'own');
  assert.equal(judge('-N KWYRE-ISOLATE', '-A KWYRE-ISOLATE -p udp -j ACCEPT'), 'foreign');
  assert.equal(judge('-N KWYRE-ISOLATE', '-A INPUT -j KWYRE-ISOLATE'), 'foreign');
});
