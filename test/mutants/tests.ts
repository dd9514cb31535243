/**
 * Which tests should notice that something of a kind is gone, the cheapest first: the first that fails ends the mutant.
 * @module
 */

/** A test file, and which of its tests (a pattern of their names). */
export type Tests = readonly [file: string, names?: string];

const calls: Tests = ['test/attacks/2-calls.test.ts'];
const inJail = (names: string): Tests => ['test/attacks/2-jail.test.ts', names];
const whole: readonly Tests[] = [
  ['test/attacks/2-probe.test.ts', 'in the jail of'],
  ['test/attacks/2-live.test.ts', 'goes on serving'],
];

export const testsOf: Readonly<Record<string, readonly Tests[]>> = {
  calls: [[calls[0], 'the sealed gateway'], calls, ['test/attacks/2-probe.test.ts', 'in the jail of']],
  supervisor: [
    [calls[0], 'the confined supervisor'],
    calls,
    ['test/attacks/2-supervisor.test.ts', 'hostile supervisor'],
    ['test/attacks/2-supervisor.test.ts', 'puts it on once'],
  ],
  supervisorCapabilities: [
    ['test/attacks/2-supervisor.test.ts', 'puts it on once'],
    ['test/attacks/2-supervisor.test.ts', 'hostile supervisor'],
  ],
  supervisorLives: [['test/attacks/2-supervisor.test.ts', 'puts it on once']],
  paths: [inJail('the files of the system'), ...whole],
  features: [
    ['test/unit/layers/2-policy.test.ts'],
    ['test/unit/layers/layer-status.test.ts'],
    ['test/unit/layers/2-waiver-check.test.ts'],
    ['test/attacks/2-waivers.test.ts'],
  ],
  limits: [inJail('its limits'), ['test/attacks/6-watchdog.test.ts', 'the limits of the watchdog']],
  tasks: [['test/attacks/2-threads.test.ts']],
  memory: [inJail('secret memory')],
  without: [
    ['test/unit/layers/2-policy.test.ts'],
    ['test/attacks/6-watchdog.test.ts'],
    ['test/attacks/2-locks.test.ts', 'landlock alone'],
  ],
  capabilities: [['test/unit/layers/2-policy.test.ts'], ['test/attacks/6-watchdog.test.ts']],
  descriptors: [
    inJail('comes through|secret memory'),
    ['test/attacks/2-live.test.ts', 'goes on serving'],
    ['test/attacks/6-watchdog.test.ts', 'asks the kernel'],
    ['test/attacks/1-server.test.ts'],
  ],
  image: [inJail('the image of the role')],
  waivers: [['test/unit/layers/2-waiver-check.test.ts']],
  dumpable: [inJail('not dumpable')],
  '32-bit': [inJail('32-bit')],
  x32: [inJail('x32')],
  threads: [inJail('the seal is on every thread'), ['test/attacks/3-doors.test.ts']],
  death: [inJail('ends it with the supervisor')],
  bounding: [inJail('bounding set')],
  users: [inJail('that it was given'), ['test/attacks/2-users.test.ts']],
  locks: [['test/attacks/2-locks.test.ts', 'alone in the'], inJail('outside the plan')],
  start: [
    inJail('L2-01'),
    ['test/attacks/2-probe.test.ts', 'the kill is real'],
    ['test/attacks/2-live.test.ts', 'goes on serving'],
  ],
  seal: [inJail('L2-01'), ['test/attacks/2-waivers.test.ts']],
  frozen: [['test/attacks/6-frozen.test.ts']],
  detectors: [['test/unit/layers/6-all-detectors.test.ts']],
  landlock: [['test/unit/layers/2-landlock-rules.test.ts']],
  native: [['test/attacks/3-native.test.ts'], ['test/attacks/3-loads.test.ts']],
  commands: [['test/attacks/3-commands.test.ts']],
  window: [['test/attacks/6-window.test.ts']],
  setting: [['test/attacks/6-window.test.ts', 'suid_dumpable']],
  writers: [['test/unit/linux/path-writers.test.ts'], ['test/unit/layers/3-tree-access.test.ts']],
  sealed: [['test/attacks/3-native.test.ts', 'maps nothing of its installation'], ['test/attacks/6-window.test.ts']],
  hidden: [['test/attacks/6-window.test.ts'], ['test/attacks/5-remains.test.ts', 'ordinary user']],
  vault: [['test/unit/layers/5-vault.test.ts'], ['test/unit/layers/5-key-arena.test.ts']],
  derive: [['test/attacks/5-derive.test.ts']],
  shares: [['test/unit/layers/5-shares.test.ts']],
  pulse: [['test/unit/supervisor/engine-pulse.test.ts']],
  lifeline: [['test/unit/wire/lifeline.test.ts']],
  pause: [['test/unit/layers/6-pause-verdict.test.ts'], ['test/unit/supervisor/pause-tracker.test.ts']],
  sockets: [['test/unit/linux/sock-diag.test.ts']],
  eyes: [['test/unit/watchdog/memory-descriptors.test.ts'], ['test/unit/watchdog/open-files.test.ts']],
  tools: [['test/unit/layers/6-known-tools.test.ts']],
  written: [
    ['test/unit/wire/covert-channels.test.ts'],
    ['test/unit/wire/channel.test.ts'],
    ['test/unit/supervisor/event-budget.test.ts'],
    ['test/unit/supervisor/reported-finding.test.ts'],
    ['test/unit/layers/6-finding-texts.test.ts'],
    ['test/unit/base/untrusted-text.test.ts'],
    ['test/unit/state/event-log.test.ts'],
  ],
  marker: [['test/unit/state/violation-marker.test.ts']],
  events: [['test/unit/state/event-log.test.ts']],
  trust: [['test/unit/state/server-witness.test.ts'], ['test/unit/cli/client.test.ts']],
  served: [['test/unit/gateway/request-quota.test.ts'], ['test/unit/gateway/connections.test.ts']],
  costs: [['test/unit/template/costs.test.ts']],
  tokens: [['test/unit/engine/prompt-tokenizer.test.ts']],
  seals: [['test/unit/layers/3-signed-tree.test.ts']],
};
