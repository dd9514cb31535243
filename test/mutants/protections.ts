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
  ['few descriptors', 'limits', jail, 'setLimit(resources.openFiles, most)', 'true'],
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
  ['native code is opened from sealed memory', 'native', 'layers/3-dependencies/native.ts', '    if (fd === undefined) refuse({ kind: \'extra\', name: printable(name) });\n    openFile(module, fd, flags);', '    void fd; open(module, path, flags ?? 1);'],
  ['the mapped copy is looked at again', 'native', 'layers/3-dependencies/native.ts', "      check(readWhole(fd), ', after it was mapped');\n", ''],
  ['mapped code outside of the installation is judged', 'native', 'layers/3-dependencies/hook.ts', 'if (!isSystemLibrary(disk, elsewhere)) faults.push', 'if (false) faults.push'],
  ['memory is known by its identity', 'detectors', 'layers/6-intrusion/mappings.ts', 'if (memory.includes(`${device}:${inode}`)) return true;', "if (path.startsWith('/memfd:kwyre-')) return true;"],
  ['what runs cannot be read', 'window', 'linux/memfd.ts', '  fchmodSync(fd, runOnly);\n', ''],
  ['a visible role does not begin', 'window', 'jail/entry.ts', 'if (!list.visible) assertHidden(fs, uid);', ''],
  ['a traced process does not begin', 'window', 'supervisor/main.ts', '  assertUntraced(fs);\n', ''],
  ['a command verifies first', 'commands', 'cli/main.ts', 'run(args) { await loadVerified(args); return', 'run(args) { return'],
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
  // Layer 3 and the window of a start.
  ['sealed memory of native code is sealed', 'sealed', 'supervisor/first.ts', 'for (const fd of natives.values()) sealMemfd(fd);', 'void sealMemfd;'],
  ['Node runs from sealed memory', 'sealed', 'supervisor/handover.ts', 'node === undefined ? process.execPath : `/proc/self/fd/${node}`', 'process.execPath'],
  ['a role opens its addon from sealed memory', 'sealed', 'jail/entry.ts', '  openFromMemory(list, list.natives);\n', '  void openFromMemory;\n'],
  ['an addon that is not handed over is refused', 'native', 'layers/3-dependencies/native.ts', "    if (opened.refusal !== undefined) throw opened.refusal;\n", ''],
  ['the first image compares what it opens', 'native', 'layers/3-dependencies/native.ts', '    check(bytes);\n', ''],
  ['a kernel that lets programs be read is refused', 'setting', 'supervisor/main.ts', '  assertDumpSetting(fs);\n', '  void assertDumpSetting;\n'],
  ['the first image hides itself', 'hidden', 'supervisor/first.ts', '  hideProcess();\n', '  void hideProcess;\n'],
  ['the second image of root hides itself', 'hidden', 'supervisor/main.ts', "    (await import('../linux/memfd.ts')).hideProcess();\n", ''],
  ['a visible supervisor does not begin', 'hidden', 'supervisor/main.ts', 'if (!handed.visible) assertHidden(fs, process.getuid?.() ?? -1);', 'void assertHidden;'],

  // Layer 5.
  ['the tail of a sealed part that shrinks is overwritten', 'vault', 'layers/5-memory/sealed.ts', '      overwriteMemory(tail, this.#capacity - wanted);\n', ''],
  ['a sealed part is overwritten before it is given back', 'vault', 'layers/5-memory/sealed.ts', '    overwriteMemory(this.#address, this.#capacity);\n', ''],
  ['a key that was destroyed is overwritten', 'vault', 'layers/5-memory/arena.ts', '    cleanseMemory(address, keyBytes);\n    if (viewMemory(address, keyBytes).some((byte) => byte !== 0)) bug(', "    if (address < 0n && viewMemory(address, keyBytes).some((byte) => byte !== 0)) bug("],
  ['the engine wipes at its end', 'derive', 'engine/main.ts', '  keeper?.close();\n', ''],
  ['keys come from the kernel', 'derive', 'layers/5-memory/arena.ts', '    randomMemory(this.#base + BigInt(place * keyBytes), keyBytes);\n', "    viewMemory(this.#base + BigInt(place * keyBytes), keyBytes).set(process.getBuiltinModule('node:crypto').randomBytes(keyBytes)); void randomMemory;\n"],
  ['expanded keys are freed', 'derive', 'linux/openssl.ts', '    cipherFree(context);\n', '    void cipherFree;\n'],
  ['shares: beyond its share', 'shares', 'layers/5-memory/holders.ts', 'filter((holding) => !holding.operator && wanted(holding) > share)', 'filter((holding) => !holding.operator && wanted(holding) > 0)'],
  ['shares: what is asked for counts', 'shares', 'layers/5-memory/holders.ts', '(holding.name === asking ? more : 0)', '0'],
  ['shares: whoever holds most gives', 'shares', 'layers/5-memory/holders.ts', 'beyond.sort((a, b) => wanted(b) - wanted(a))', 'beyond'],
  ["shares: the person's are no others' room", 'shares', 'layers/5-memory/holders.ts', 'filter((holding) => !holding.operator && wanted', 'filter((holding) => wanted'],
  ["shares: the person's share is left", 'shares', 'layers/5-memory/holders.ts', "amount(holding, measure) - (measure === 'bytes' ? sealedBytesOf(session) : 1) >= share", "amount(holding, measure) - (measure === 'bytes' ? sealedBytesOf(session) : 1) >= 0"],
  ['ids that answer 410 are shared by token', 'shares', 'layers/5-memory/tombstones.ts', 'most === undefined || entry[1].size > most[1].size', 'most === undefined'],
  ['an engine that stands still is ended', 'pulse', 'supervisor/pulse.ts', 'return this.#unanswered > patience;', 'return false;'],
  ['an engine cannot put its end off', 'pulse', 'supervisor/pulse.ts', 'Math.min(dueMs ?? this.#longestMs, this.#longestMs)', '(dueMs ?? this.#longestMs)'],

  // Layer 6.
  ['a role that was late gets no second time', 'lifeline', 'wire/lifeline.ts', 'const cut = !this.#over && this.#graceEnds === undefined && this', 'const cut = !this.#over && this'],
  ['a word counts from when it was said', 'lifeline', 'wire/lifeline.ts', 'Math.max(this.#said, Math.min(saidAt, now))', 'now'],
  ['a word of the future gives no time', 'lifeline', 'wire/lifeline.ts', 'Math.min(saidAt, now)', 'saidAt'],
  ['the time after a pause ends', 'lifeline', 'wire/lifeline.ts', '(this.#graceEnds !== undefined && now <= this.#graceEnds)', 'this.#graceEnds !== undefined'],
  ['one who was late alone was stopped', 'pause', 'layers/6-intrusion/pause.ts', 'said.ms >= this.lateMs - toleranceMs', 'true'],
  ['nothing is taken before a scan that began afterwards', 'pause', 'supervisor/stillness.ts', ' || beganMs < pause.at) return undefined;', ') return undefined;'],
  ['a Unix socket is the one of its inode', 'sockets', 'linux/diag.ts', 'return socket?.inode === inode ? socket : undefined;', 'return socket;'],
  ['an abstract name keeps its bytes', 'sockets', 'linux/diag.ts', "name: name.startsWith('\\0') ? name : name.replace(/\\0$/, '')", "name: name.replace(/\\0/g, '')"],
  ['memory that is opened as a path only', 'eyes', 'watchdog/memory.ts', ' || opened.pathOnly) return', ') return'],
  ['a path that looks like our memory', 'eyes', 'watchdog/memory.ts', "if (mount.kind !== 'proc') return undefined;", ''],
  ['the inode of what looks like our memory', 'eyes', 'watchdog/memory.ts', "return 'value' in real && real.value === inode ? owner : undefined;", 'void real; return owner;'],
  ['processes of another numbering', 'eyes', 'watchdog/memory.ts', 'return this.#sameProcesses(folder, mount.point) ? ownerOf(tail, ours) : undefined;', 'return ownerOf(tail, ours);'],
  ['descriptors of each thread', 'eyes', 'watchdog/openfiles.ts', 'if (reading.threads > 1) this.#followThreads(reading, size, memories, sockets);', ''],
  ['a thread whose descriptors differ is followed at once', 'eyes', 'watchdog/openfiles.ts', "const differs = 'value' in counted && counted.value !== size;", 'const differs = false; void counted;'],
  ['threads are followed in turn', 'eyes', 'watchdog/openfiles.ts', 'this.#nextThread = last >= length ? 0 : last;', 'this.#nextThread = 0;'],
  ['long tables are followed part by part', 'eyes', 'watchdog/openfiles.ts', 'this.#nextSlot = from + names.length;', ''],
  ['captures of one protocol', 'detectors', 'layers/6-intrusion/capture.ts', 'new Set([allProtocols, 0x0800, 0x86dd])', 'new Set([allProtocols])'],
  ['captures by the receivers of the kernel', 'detectors', 'layers/6-intrusion/capture.ts', '.filter(taps)', '.filter(() => false)'],
  ['a title is no sign of a tool', 'tools', 'layers/6-intrusion/tools.ts', "process.executable === '' ? agreedName(process) : [baseName(process.executable)]", '[...agreedName(process), baseName(process.executable)]'],
  ['names that are hidden have to agree', 'tools', 'layers/6-intrusion/tools.ts', '  if (last !== undefined && last.slice(0, kernelNameLength) !== name) return [];\n', ''],

  // What a jailed process can have written.
  ['the gateway reports one event', 'written', 'wire/messages.ts', "event: object({ code: literals('L1_TOKEN_WRONG'),", "event: object({ code: text(64) as unknown as ReturnType<typeof literals<['L1_TOKEN_WRONG']>>,"],
  ['counts are whole and bounded', 'written', 'wire/messages.ts', 'count: whole(1, 1 << 30)', 'count: number(1)'],
  ['text of a jailed process is cleaned', 'written', 'wire/schema.ts', 'printable(value, maxLength)', 'value.slice(0, maxLength)'],
  ['messages of the start come at the start', 'written', 'wire/channel.ts', "entry.permit === 'start' && this.#started", 'false'],
  ['lines by the hour', 'written', 'supervisor/ledger.ts', 'if (!this.#allowances[kind].take(this.#now())) {', 'if (false) {'],
  ['wrong tokens by the hour', 'written', 'supervisor/ledger.ts', 'if (this.#allowances.wrongTokens.take(this.#now())) this', 'this'],
  ['counts are told as powers of two', 'written', 'supervisor/ledger.ts', '2 ** Math.ceil(Math.log2(Math.max(1, count)))', 'count'],
  ['sentences come from a list', 'written', 'supervisor/testimony.ts', 'what: plainWords(what)', 'what'],
  ['names are looked up by the supervisor', 'written', 'supervisor/testimony.ts', '...who(pid), what', 'uid: who(pid).uid, name: detection.reason, what'],
  ['numbers in sentences are taken out', 'written', 'layers/6-intrusion/words.ts', 'return sentences.has(words) ? words : unlisted;', 'return sentences.has(words) ? what : unlisted;'],
  ['what is printed steers no terminal', 'written', 'base/text.ts', "print('%s', visible(format(...parts)));", "print('%s', format(...parts));"],
  ['the log tells whole seconds', 'written', 'state/events.ts', '.slice(0, 19)', ''],

  // Violations and bookkeeping.
  ['the marker has other places', 'marker', 'state/violation.ts', 'return [join(directory, file), ...folders.map((folder) => join(folder, name))];', 'return [join(directory, file)];'],
  ['the marker goes to the next place', 'marker', 'state/violation.ts', 'return false; // full,', 'return true; // full,'],
  ['a start looks in every place', 'marker', 'state/violation.ts', 'return [first, ...others.filter(isOurs)]\n    .map(', 'return [first, ...others.slice(0, 0).filter(isOurs)]\n    .map('],
  ["others' files are no markers", 'marker', 'state/violation.ts', 'return lstatSync(path).uid === process.getuid?.();', 'return lstatSync(path).uid >= 0;'],
  ['a damaged marker is one', 'marker', 'state/violation.ts', "marker.code === 'L6_MARKER_DAMAGED' || ", ''],
  ['an event that cannot be written is counted', 'events', 'state/events.ts', '      this.#lost += 1;\n', ''],
  ['of a line that does not fit nothing stays', 'events', 'state/events.ts', '      ftruncateSync(fd, facts.size);\n', ''],

  // Whom commands trust, and who is served.
  ['a command wants a proof before it sends the token', 'trust', 'cli/client.ts', "if (response.headers[proofHeaders.proof] !== proofOf(", 'if (response.statusCode === undefined && response.headers[proofHeaders.proof] !== proofOf('],
  ['the token goes on the connection that was proved', 'trust', 'cli/client.ts', 'if ((await connectionOf(call)) !== proved) {', 'if ((await connectionOf(call)) === undefined) {'],
  ['the process of a presence file holds the lock', 'trust', 'state/witness.ts', '  if (!holders.includes(pid)) return others;\n', ''],
  ['it is the same process', 'trust', 'state/witness.ts', 'if (started !== witness.started) return', 'if (started === -1) return'],
  ['it runs the same program', 'trust', 'state/witness.ts', 'return executable === witness.executable ? undefined :', 'return executable !== undefined ? undefined :'],
  ['the listener is its own', 'trust', 'state/witness.ts', "if (row?.inode === witness.listener) return", 'if (row !== undefined) return'],
  ['requests: an equal part', 'served', 'gateway/shares.ts', 'over(sum) > 1)', 'over(sum) > Infinity)'],
  ["requests: the person's are not taken", 'served', 'gateway/shares.ts', ' && !held.holder.person && (forRequests', ' && (forRequests'],
  ['requests: places of the person', 'served', 'gateway/shares.ts', 'requests: requests + (person ? personRequests : 0)', 'requests'],
  ['places for short requests, by token', 'served', 'gateway/shares.ts', 'before >= placeLimits.each || ', ''],
  ['connections: whoever holds most', 'served', 'gateway/connections.ts', '      if (count <= most) continue;\n', ''],
  ['connections: none with a request under way', 'served', 'gateway/connections.ts', 'if (!busy && (found', 'if ((found'],

  // Templates and tokens.
  ['a template pays for what it touches', 'costs', 'template/budget.ts', 'this.spend(1 + Math.floor(count / shift));', 'this.spend(1); void shift;'],
  ['a text has a longest length', 'costs', 'template/budget.ts', 'if (count > this.maxBytes) throw', 'if (count < 0) throw'],
  ['a template has no more time', 'costs', 'template/budget.ts', 'if (this.#clock() > this.#deadline) throw', 'if (this.#deadline < 0) throw'],
  ['the name of a marker in a message is cut', 'tokens', 'engine/vocabulary.ts', 'at = text.indexOf(name, at + 1)) found.add(at + cut);', 'at = text.indexOf(name, at + 1)) void cut;'],
  ['nothing is put in where a name is cut', 'tokens', 'engine/vocabulary.ts', '      text[from - 1] = byte;\n', ''],
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
