/**
 * Protections outside of the tables, each with the text that makes it and what takes it away.
 *
 * A text that is gone is an error and no pass: then the protection was moved, and this list has to follow.
 * @module
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Mutant } from './rows.ts';

type Protection = readonly [what: string, kind: string, file: string, text: string, instead: string];

const jail = 'layers/2-isolation/confine.ts';
const protections: readonly Protection[] = [
  ['a sealed role is not dumpable', 'dumpable', 'layers/2-isolation/seal.ts', 'const undumpable = setUndumpable();', 'const undumpable = true;'],
  ['the filter knows one architecture', '32-bit', 'linux/seccomp.ts', '    [jumpEqual, 1, 0, audit[architecture]],\n    [ret, 0, 0, killProcess],\n', ''],
  ['the filter refuses calls of the x32 table', 'x32', 'linux/seccomp.ts', "if (architecture === 'x64') program.push([jumpGreaterEqual, 0, 1, x32Bit], [ret, 0, 0, killProcess]);", ''],
  ['the filter is on every thread', 'threads', 'linux/seccomp.ts', 'const everyThread = 1;', 'const everyThread = 0;'],
  ['several conditions all count', 'calls', 'linux/seccomp.ts', 'const conditions = [rule.when].flat();', 'const conditions = [rule.when].flat().slice(-1);'],
  ['the kernel ends a role with the supervisor', 'death', 'linux/process.ts', "checked('prctl', prctl(options.setDeathSignal, 9, 0, 0, 0));", ''],
  ['gateway and engine empty their bounding set', 'bounding', jail, 'dropBoundingSet(kept);', ''],
  ['a role has no capability', 'bounding', jail, 'if (!exact()) dropCapabilities(kept);', ''],
  ['a role becomes a user of its own', 'users', jail, 'becomeUser(uid, gid);', ''],
  ['no core image', 'limits', jail, 'setLimit(resources.core, 0)', 'true'],
  ['no file grows', 'limits', jail, 'setLimit(resources.fileSize, 0)', 'true'],
  ['few descriptors', 'limits', jail, 'setLimit(resources.openFiles, policy.limits.openFiles)', 'true'],
  ['few threads', 'tasks', jail, 'setLimit(resources.tasks, here.tasks)', 'true'],
  ['an empty network', 'locks', jail, 'enterEmptyNetwork();', ''],
  ['no_new_privs in the jail', 'start', jail, "observed(setNoNewPrivs(), 'NoNewPrivs 1')", "observed(true, 'NoNewPrivs 1')"],
  ['Landlock', 'locks', 'layers/2-isolation/landlock.ts', 'if (given.length > 0) restrictSelf(plan, handledBy(given));', ''],
  ['the filter of the start', 'start', jail, 'installFilter(here.probe?.deadly === false ? soften(filter) : filter);', 'void soften(filter); void installFilter;'],
  ['the filter of the seal', 'start', 'layers/2-isolation/seal.ts', 'installFilter(filter);', 'void filter; void installFilter;'],
  ['the seal tries its filter', 'seal', 'layers/2-isolation/seal.ts', 'const sealed = isSealed();', 'const sealed = true; void isSealed;'],
  ['the supervisor has no ring', 'supervisor', 'layers/2-isolation/supervisor.ts', "  installFilter({ rules: [{ call: 'io_uring_setup', action: { errno: errnos.ENOSYS } }], otherwise: 'allow' });\n", ''],
  ['the supervisor gives up powers', 'supervisorCapabilities', 'layers/2-isolation/supervisor.ts', 'dropBoundingSet(capabilitiesOfSupervisor.map(([number]) => number));', ''],
  ['the supervisor has no core image', 'supervisorCapabilities', 'layers/2-isolation/supervisor.ts', '  setLimit(resources.core, 0);\n', ''],
  ['the supervisor puts its filter on', 'supervisorLives', 'supervisor/serve.ts', 'confined = confineSupervisor();', "confined = 'it was not'; void confineSupervisor;"],
  ['an id that a process has is not drawn', 'users', 'layers/2-isolation/identity.ts', '!inUse(uid) && ', ''],
  ['an id that is claimed is not drawn', 'users', 'layers/2-isolation/identity.ts', " && claim(uid) !== 'taken'", ''],
  ['a frozen control group is seen', 'frozen', 'watchdog/targets.ts', 'frozen: frozenOf(eyes, pid),', 'frozen: { value: false },'],
  ['a frozen control group is a finding', 'detectors', 'layers/6-intrusion/tracer.ts', 'if (seen(state.frozen) === true)', 'if (false)'],
  ['only its own descriptors come through', 'descriptors', 'jail/main.ts', 'for (const fd of kept.filter(isHandedOver)) keepAcrossExec(fd);', 'void kept; for (let fd = 3; fd < 256; fd += 1) if (isHandedOver(fd)) keepAcrossExec(fd);'],
  ...Array.from({ length: 13 }, (_, bit): Protection => [`Landlock: right ${bit} on files`, 'landlock', 'layers/2-isolation/extents.ts', 'files: (1n << 13n) - 1n }', `files: ((1n << 13n) - 1n) & ~(1n << ${bit}n) }`]),
  ['packages belong to root or to who runs them', 'writers', 'oms/disk.ts', 'if (rights.owners !== undefined && !rights.owners.has(facts.uid)) return', 'if (false) return'],
  ['who can write: owners', 'writers', 'linux/writers.ts', 'facts.uid === 0 ? [] :', 'true ? [] :'],
  ['who can write: groups', 'writers', 'linux/writers.ts', 'if ((facts.mode & groupBit) !== 0) {', 'if (false) {'],
  ['who can write: everybody', 'writers', 'linux/writers.ts', 'if ((facts.mode & everybodyBit) !== 0) grants', 'if (false) grants'],
  ['who can write: access lists', 'writers', 'linux/writers.ts', 'of list?.listed ?? [])', 'of [] as never[])'],
  ['who can write: a sticky folder asked for itself', 'writers', 'linux/writers.ts', '(above && (facts.mode & stickyBit) !== 0)', '(facts.mode & stickyBit) !== 0'],
  ['who can write: an entry that is not there', 'writers', 'linux/writers.ts', 'look(current, false);', ''],
  ['who can write: what a link leads to', 'writers', 'linux/writers.ts', 'pending.unshift(', 'void Array.of('],
  ['who can write: file systems that a user serves', 'writers', 'linux/writers.ts', 'return [...grants, ...servedGrants(disk, ends)];', 'return grants;'],
  ['who can write: other members of a group', 'writers', 'linux/writers.ts', '? others : groups).push(grant)', '? groups : groups).push(grant)'],
  ['others who can write refuse the start', 'writers', 'layers/3-dependencies/access.ts', 'if (others.length === 0) return;', 'if (others.length >= 0) return;'],
  ['enforced: no group can write', 'writers', 'layers/3-dependencies/access.ts', 'if (foreign !== undefined) return {', 'if (false) return {'],
  ['enforced: not who runs it', 'writers', 'layers/3-dependencies/access.ts', 'if (own === undefined) return {', 'if (true) return {'],
  ['our own files are looked at', 'writers', 'layers/3-dependencies/verify.ts', '...chainGrants(who), ...ownGrants(who, own)]', '...chainGrants(who)]'],
  ['the way to the tree is looked at', 'writers', 'layers/3-dependencies/verify.ts', '[...chainGrants(who), ...ownGrants(who, own)]', 'ownGrants(who, own)'],
  ['groups of packages are looked at', 'writers', 'layers/3-dependencies/verify.ts', '  refuseOthers(who, writers);\n', ''],
  ['layer 4 needs a sealed program', 'writers', 'layers/3-dependencies/verify.ts', 'const good = sealed && access.rootOnly;', 'const good = access.rootOnly;'],
  ['a seal is by the key that was seen before', 'seals', 'layers/3-dependencies/seal.ts', "key !== '' && key !== keyId", 'false'],
  ['a number is sealed once', 'seals', 'layers/3-dependencies/seal.ts', "if (root !== '' && sequence === runtime.sequence", "if (false && sequence === runtime.sequence"],
  ['a seal is not older than the one seen before', 'seals', 'layers/3-dependencies/seal.ts', 'if (runtime.sequence < last) throw', 'if (false) throw'],
  ['libraries added since sealing are named', 'seals', 'layers/3-dependencies/seal.ts', 'if (before === undefined) return [`added', 'if (before === undefined) return []; if (false) return [`added'],
  ['Landlock: shortening', 'landlock', 'layers/2-isolation/extents.ts', 'files: 1n << 14n }', 'files: 0n }'],
  ['Landlock: commands to devices', 'landlock', 'layers/2-isolation/extents.ts', 'files: 1n << 15n }', 'files: 0n }'],
  ['Landlock: taking a port', 'landlock', 'layers/2-isolation/extents.ts', 'network: 3n }', 'network: 2n }'],
  ['Landlock: connecting to a port', 'landlock', 'layers/2-isolation/extents.ts', 'network: 3n }', 'network: 1n }'],
  ['Landlock: abstract sockets', 'landlock', 'layers/2-isolation/extents.ts', 'scopes: 3n }', 'scopes: 2n }'],
  ['Landlock: signals', 'landlock', 'layers/2-isolation/extents.ts', 'scopes: 3n }', 'scopes: 1n }'],
];

/** @throws when a text does not stand in its file exactly once */
export function allProtections(root: string): Mutant[] {
  return protections.map(([what, kind, name, text, instead]) => {
    const file = join('src', name);
    const parts = readFileSync(join(root, file), 'utf8').split(text);
    if (parts.length !== 2) throw new Error(`${file} says ${parts.length - 1} times and not once: ${text}\n  what "${what}" consists of was moved: put its new text into test/mutants/protections.ts`);
    const id = createHash('sha256').update(`${what}\0${file}\0${text}\0${instead}`).digest('hex').slice(0, 12);
    return { id, what: `${name}: without "${what}"`, kind, file, at: parts[0]!.length, text, instead };
  });
}
