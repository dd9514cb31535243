/**
 * Reads the facts about the machine for `kwyre doctor`. Changes nothing and needs no server.
 * @module
 */
import * as fs from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { recordPath } from '../../layers/2-isolation/install/install-record.ts';
import { guideFile, guideModel, guideName } from '../../layers/4-model/guide-digest.ts';
import { findProgram } from '../../linux/command.ts';
import { Hasher, openRegular } from '../../oms/tree-reader.ts';
import type { HostFacts, KernelFacts, ModelState } from './types.ts';
import { notLoaded } from './types.ts';

function readText(path: string): string | undefined {
  try {
    return fs.readFileSync(path, 'latin1');
  } catch {
    return undefined;
  }
}

function list(path: string): string[] {
  try {
    return fs.readdirSync(path);
  } catch {
    return [];
  }
}

/** Reads `init_on_free` from the kernel's command line, or else from its build configuration. */
function clearsFreedMemory(): boolean | undefined {
  const [, setting] = /(?:^|\s)init_on_free=(\S+)/.exec(readText('/proc/cmdline') ?? '') ?? [];
  if (setting !== undefined) return ['1', 'y', 'on'].includes(setting.toLowerCase());
  let config = readText(`/boot/config-${release()}`);
  try {
    config ??= gunzipSync(fs.readFileSync('/proc/config.gz')).toString('latin1');
  } catch {
    return undefined; // this kernel does not publish its configuration
  }
  return /^CONFIG_INIT_ON_FREE_DEFAULT_ON=y$/m.test(config);
}

/** Returns the version to which the lock file pins a package. */
function pinned(root: string, path: string): string | undefined {
  const text = readText(join(root, 'package-lock.json'));
  if (text === undefined) return undefined;
  return (JSON.parse(text) as { packages?: Record<string, { version?: string } | undefined> }).packages?.[path]
    ?.version;
}

/** Compares the guide model with the published one, without native code. */
function guideByDigest(root: string): ModelState {
  const opened = openRegular(fs, join(guideModel(root).root, guideFile.name));
  if (opened === undefined) return { name: guideName, fault: 'its file is missing' };
  try {
    return {
      name: guideName,
      fault:
        new Hasher(fs).whole(opened.fd).digest === guideFile.sha256
          ? undefined
          : 'its file differs from the published one',
    };
  } finally {
    fs.closeSync(opened.fd);
  }
}

/**
 * Reads every fact that `examine` evaluates.
 * @param kernel - facts from native code; `undefined` if it was not loaded because it differs from the published
 * packages
 */
export function readHost(root: string, treeFault: string | undefined, kernel: KernelFacts | undefined): HostFacts {
  const platform = `${process.platform}-${process.arch}`;
  const nodePackage = `node_modules/node-${platform}`;
  const enginePackage = `@node-llama-cpp/${platform}`;
  const linux = process.platform === 'linux';
  const firewall =
    findProgram('nft') !== undefined
      ? 'nftables'
      : findProgram('iptables') !== undefined && findProgram('ip6tables') !== undefined
        ? 'iptables'
        : undefined;
  return {
    platform: process.platform,
    architecture: process.arch,
    release: release(),
    uid: process.getuid?.() ?? -1,
    wsl: /microsoft/i.test(readText('/proc/sys/kernel/osrelease') ?? ''),
    landlockAbi: linux ? kernel?.landlockAbi : 0,
    seccompActions: readText('/proc/sys/kernel/seccomp/actions_avail'),
    noNewPrivs: /^NoNewPrivs:/m.test(readText('/proc/self/status') ?? ''),
    secretMemoryFault: !linux ? 'only Linux has it' : kernel === undefined ? notLoaded : kernel.secretMemoryFault,
    namespaces: list('/proc/self/ns'),
    firewall,
    installed: fs.existsSync(recordPath),
    leases: readText('/proc/sys/fs/leases-enable'),
    swaps: readText('/proc/swaps'),
    corePattern: readText('/proc/sys/kernel/core_pattern'),
    clearsFreedMemory: clearsFreedMemory(),
    ptraceScope: readText('/proc/sys/kernel/yama/ptrace_scope'),
    hidesProcesses: linux && !list('/proc').includes('1'),
    node: {
      running: process.version,
      pinned: pinned(root, nodePackage),
      ownBinary: fs.realpathSync(process.execPath).startsWith(`${join(root, nodePackage)}/`),
    },
    engine: {
      name: enginePackage,
      present: fs.existsSync(join(root, 'node_modules', enginePackage, 'bins', platform)),
    },
    treeFault,
    models: kernel?.models ?? [guideByDigest(root)],
  };
}
