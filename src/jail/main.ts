/**
 * The jail stage, through which every role starts: confines this process, reports the result, and executes the role in
 * the same process.
 *
 * Run: `node [jail/entry.js] jail/main.js ROLE ENTRY JSON`; descriptor 3 is the control edge. Tests pass a hostile
 * ENTRY, so that the roles need no test hooks. Only the probe (`probe/main.ts`) may leave features out. Instead of a
 * control edge it has a pipe, which carries the same reports as lines of JSON.
 * @module
 */
import { closeSync, existsSync, fstatSync, readFileSync, readlinkSync, realpathSync, writeSync } from 'node:fs';
import { extname, join } from 'node:path';
import { KwyreError } from '../base/errors.ts';
import { confineSelf } from '../layers/2-isolation/jail/confine.ts';
import { parseProbeRequest } from '../layers/2-isolation/probe/probe-request.ts';
import { loadListDescriptor, nativeDescriptors } from '../layers/3-dependencies/load-list.ts';
import { LinuxError } from '../linux/ffi.ts';
import { openFilesOf } from '../linux/procfs/limits.ts';
import { makeSecretMemory } from '../linux/memory/mapped-memory.ts';
import { duplicateTo, keepAcrossExec, restCapabilities } from '../linux/process.ts';
import { families, makeSocket } from '../linux/sockets/socket.ts';
import { roleFlags } from '../policy/node-flags.ts';
import type { Policy } from '../policy/role-policy.ts';
import type { Role } from '../policy/roles.ts';
import { keptDescriptors, roleEnvironment, roles } from '../policy/roles.ts';
import { encodeFrame } from '../wire/frame.ts';
import { encodeJson } from '../wire/control-payloads.ts';
import { controlMessages, descriptors } from '../wire/messages.ts';
import { array, boolean, number, object, optional, string } from '../wire/schema.ts';

const inputSchema = object({
  readable: array(string(4096), 64),
  uid: optional(number(0)),
  gid: optional(number(0)),
  accepted: array(string(64), 64),
  installed: optional(boolean()),
  tasks: optional(number(1)),
  parts: optional(number(0, 255)),
  probe: optional(string(4096)),
});
const ownProgram = '/proc/self/exe';
const probeEntry = join(import.meta.dirname, '..', 'probe', `main${extname(import.meta.filename)}`);

function report(type: number, value: unknown): void {
  if (probing) {
    writeSync(descriptors.control, `${JSON.stringify(value)}\n`);
    return;
  }
  const frame = encodeFrame(type, 0, encodeJson(value));
  for (let at = 0; at < frame.length;) at += writeSync(descriptors.control, frame, at);
}

/** Returns whether a descriptor was inherited: it is a socket or a file, and not one that Node opened. */
function isInherited(fd: number): boolean {
  try {
    const facts = fstatSync(fd);
    return facts.isSocket() || facts.isFile();
  } catch {
    return false;
  }
}

/** Creates the role's secret memory. If the kernel does not support it, the role later reports a degraded layer. */
function createSecretMemory(policy: Policy): void {
  if (policy.secretMemory === undefined) return;
  try {
    const fd = makeSecretMemory(policy.secretMemory[0]);
    duplicateTo(fd, descriptors.secret);
    closeSync(fd);
  } catch (error) {
    if (!(error instanceof LinuxError)) throw error;
  }
}

process.exitCode = 1;
const [role = '', entry = '', json = ''] = process.argv.slice(2);
const probing = entry === probeEntry;
try {
  if (!Object.hasOwn(roles, role)) throw new KwyreError('USAGE_ROLE', 'unknown role');
  const input = inputSchema.check(JSON.parse(json), '$');
  if ((input.probe !== undefined) !== probing)
    throw new KwyreError('L2_PROBE_ONLY', 'only the probe may leave out features of the jail', 'start with ./kwyre');
  const request = input.probe === undefined ? undefined : parseProbeRequest(input.probe);
  const uid = process.getuid?.() ?? -1;
  // Created outside the jail, like the gateway's listener; the probe tries to turn it into a connection.
  const inherited = request === undefined ? undefined : makeSocket(families.inet);
  if (!probing) createSecretMemory(roles[role as Role]);
  const enforced = confineSelf({
    role: role as Role,
    supervisor: process.ppid,
    uid,
    become: input.uid === undefined || input.gid === undefined ? undefined : { uid: input.uid, gid: input.gid },
    readable: [...input.readable, entry],
    // If Node runs from a memfd, it has no path and needs no Landlock rule.
    executable: existsSync(process.execPath) ? realpathSync(process.execPath) : undefined,
    pid: process.pid,
    accepted: input.accepted,
    probe: request,
    installed: input.installed === true,
    tasks: input.tasks,
    readNetwork: () => readlinkSync('/proc/self/ns/net'),
    openFiles: openFilesOf(readFileSync('/proc/self/limits', 'latin1')).hard,
    readStatus: () => readFileSync('/proc/self/status', 'latin1'),
    readDevices(of) {
      try {
        return readFileSync(`/proc/${of}/net/dev`, 'latin1');
      } catch {
        return '';
      }
    },
  });
  report(controlMessages.enforced, { enforced });
  const parts = Array.from({ length: input.parts ?? 0 }, (_, index) => descriptors.parts + index);
  const kept =
    inherited === undefined
      ? [...keptDescriptors[role as Role], ...parts]
      : [inherited, loadListDescriptor, nativeDescriptors.first];
  for (const fd of kept.filter(isInherited)) keepAcrossExec(fd);
  if (probing) keepAcrossExec(descriptors.control);
  // If this stage was started through the entry, the role must be too.
  const through = isInherited(loadListDescriptor)
    ? [join(import.meta.dirname, `entry${extname(import.meta.filename)}`)]
    : [];
  const capabilities = (roles[role as Role] as Policy).capabilities ?? [];
  if (uid === 0 && capabilities.length > 0) restCapabilities(capabilities.map(([number]) => number));
  if (process.execve === undefined)
    throw new KwyreError('L2_FEATURE_MISSING', 'this Node has no execve', 'start with ./kwyre');
  process.execve(
    ownProgram,
    [
      process.execPath,
      ...roleFlags,
      ...through,
      entry,
      role,
      ...(inherited === undefined ? [] : [input.probe ?? '', String(inherited)]),
    ],
    { ...roleEnvironment },
  );
} catch (error) {
  if (!(error instanceof KwyreError)) throw error;
  const { code, message, remedy } = error;
  report(controlMessages.failed, probing ? { failed: { code, message, remedy } } : { code, message, remedy });
  process.exitCode = error.exitCode;
}
