/**
 * The six layers and their promises, as data. `./test/run threat-model` generates the tables of `docs/THREAT-MODEL.md`
 * from this list, from `test/threat-model/attack-table.ts` and from the ids in the titles of the tests.
 * Proof:   test/unit/layers/threat-model.test.ts
 * @module
 */
import type { Layer } from '../base/errors.ts';
import { layerNames } from '../base/verdict.ts';

/**
 * One numbered promise. The numbers never change and are never reused.
 * @internal
 */
export type Claim = {
  /** `C1` to `C26`. */
  readonly id: string;
  readonly promise: string;
  /** The file to read first, below `src/`. */
  readonly keptIn: string;
  /** The most important limit; the others are listed by layer in `docs/THREAT-MODEL.md`. */
  readonly limit: string;
};

/** One layer, with its promise and its claims. */
type LayerEntry = {
  readonly number: Layer;
  readonly name: string;
  /** The whole layer in one sentence. */
  readonly promise: string;
  /** The file below `src/` that computes the layer's status. */
  readonly status: string;
  readonly claims: readonly Claim[];
};

function claim(id: string, keptIn: string, promise: string, limit: string): Claim {
  return { id, keptIn, promise, limit };
}

/**
 * Claims that all layers keep together.
 * @internal
 */
export const sharedClaims: readonly Claim[] = [
  claim(
    'C1',
    'policy/role-policy.ts',
    'Each layer works independently: if any one of them is removed, the attacks on the other five still fail.',
    'All six rely on the same kernel, and one supervisor starts them.',
  ),
  claim(
    'C2',
    'policy/roles.ts',
    'No hostile request and no compromised process can send data away, change weights or leave a conversation behind.',
    'Until it is killed, a compromised process can falsify its answers and mix up the conversations it holds.',
  ),
];

/**
 * The six layers, by number.
 * @internal
 */
export const layers: readonly LayerEntry[] = [
  {
    number: 1,
    name: layerNames[1],
    promise: 'The server answers only on 127.0.0.1, and answers only programs that hold a token.',
    status: 'layers/1-loopback/status.ts',
    claims: [
      claim(
        'C3',
        'layers/1-loopback/listener.ts',
        'The server listens only on 127.0.0.1. No flag, variable or inherited socket changes that.',
        '`[::1]` on the port is reserved without listening; for an installed server, a firewall rule blocks it.',
      ),
      claim(
        'C4',
        'layers/1-loopback/request-guard.ts',
        'No other machine, web page or program without a token is answered, whatever the headers say.',
        'If root rewrites the source to 127.0.0.1 (SNAT), a packet looks local; the guard and token still apply.',
      ),
      claim(
        'C5',
        'layers/1-loopback/status.ts',
        'Anyone can check the address: `ss -ltn` and `./kwyre status` show one listener, on 127.0.0.1.',
        'A local program that holds a token can pass on the answers.',
      ),
    ],
  },
  {
    number: 2,
    name: layerNames[2],
    promise: 'The kernel keeps every serving process from the network, other processes and files it does not need.',
    status: 'layers/2-isolation/status.ts',
    claims: [
      claim(
        'C6',
        'layers/2-isolation/jail/seccomp-filters.ts',
        'The kernel blocks all outbound traffic of every serving process, whatever code runs in it.',
        'Without root, there is no network namespace; only seccomp and Landlock block the traffic.',
      ),
      claim(
        'C7',
        'layers/2-isolation/install/firewall.ts',
        'Firewall rules (nftables or iptables) block all outbound traffic of the installed server by its user id.',
        '`nft flush ruleset` by root removes the rules until the server starts again.',
      ),
      claim(
        'C8',
        'layers/2-isolation/install/other-platforms.ts',
        "On Windows a firewall rule blocks outbound traffic of the server's executable.",
        'Tests check only the text of the generated command; we have never run it.',
      ),
      claim(
        'C9',
        'layers/2-isolation/install/system-user.ts',
        'The installed server runs as a user without a shell, a home folder or outbound network access.',
        'A server that runs from a checkout has no user of its own.',
      ),
    ],
  },
  {
    number: 3,
    name: layerNames[3],
    promise: 'Only code that matches the published or signed digests runs.',
    status: 'layers/3-dependencies/status.ts',
    claims: [
      claim(
        'C10',
        'layers/3-dependencies/tree-verifier.ts',
        'Every start hashes every installed file and compares it with the published or signed list.',
        'The launcher, the shell and the tools that the launcher calls run before anything is verified.',
      ),
      claim(
        'C11',
        'layers/3-dependencies/published-digests.ts',
        'A package of any other version is refused, whether newer or older.',
        "Kwyre's own files have no published digests; they are covered once they are signed (`deps seal`).",
      ),
      claim(
        'C12',
        'layers/3-dependencies/load-hook.ts',
        'A changed file is refused. The bytes that run are those that were hashed, even if the file changes later.',
        'WebAssembly and injected machine code are not stopped by this layer; the jail confines them.',
      ),
      claim(
        'C13',
        'layers/3-dependencies/signature/signed-tree.ts',
        'An unexpected file or package is refused, and so is a missing, replaced or older manifest.',
        'A state folder that has never seen a signature accepts the first one.',
      ),
    ],
  },
  {
    number: 4,
    name: layerNames[4],
    promise: 'Only the approved model runs.',
    status: 'layers/4-model/status.ts',
    claims: [
      claim(
        'C14',
        'layers/4-model/model-verifier.ts',
        'Every start hashes every byte of every model file and compares it with the approval.',
        'The comparison can be trusted no more than the program that makes it (check `program`).',
      ),
      claim(
        'C15',
        'layers/4-model/immutable-weights.ts',
        'Substitution, tampering and silent corruption are refused; loaded weights cannot be changed.',
        "With `--weights file` and another user's file, a change is detected, not prevented.",
      ),
    ],
  },
  {
    number: 5,
    name: layerNames[5],
    promise: 'Conversations exist only in memory, are encrypted between turns and are overwritten when they end.',
    status: 'layers/5-memory/status.ts',
    claims: [
      claim(
        'C16',
        'layers/2-isolation/jail/confine.ts',
        'No conversation reaches a file, because no serving process can make a file grow.',
        'A hibernation image or VM snapshot taken during a turn contains what was in memory.',
      ),
      claim(
        'C17',
        'layers/5-memory/key-arena.ts',
        'Each conversation is encrypted under a random 256-bit key of its own, in memory that root cannot read.',
        'During a turn its text, tokens and KV cache are in plain memory, and root can read them.',
      ),
      claim(
        'C18',
        'layers/5-memory/vault.ts',
        'An idle conversation is wiped after one hour, or sooner (`--idle`, memory pressure).',
        'A conversation is not idle during a turn, however long the turn takes.',
      ),
      claim(
        'C19',
        'layers/5-memory/sealed-buffer.ts',
        'A wipe overwrites the key, then the content, before the memory is freed.',
        'Kernel socket buffers, GPU memory, the client and its terminal are outside this layer.',
      ),
      claim(
        'C20',
        'layers/5-memory/memory-scrub.ts',
        'Conversations are wiped when they are closed, and all of them before the server exits.',
        'If the supervisor itself is killed, the kernel reclaims the memory, and nothing overwrites it first.',
      ),
    ],
  },
  {
    number: 6,
    name: layerNames[6],
    promise: 'A debugger, memory reader or packet capture is detected, and the server wipes everything and ends.',
    status: 'layers/6-intrusion/status.ts',
    claims: [
      claim(
        'C21',
        'layers/6-intrusion/confirmation-counter.ts',
        'The watchdog scans at least every 5 s. Two detections in a row, or a recurring one, confirm a violation.',
        'Access that begins and ends between two scans is either prevented by other means or not seen.',
      ),
      claim(
        'C22',
        'layers/6-intrusion/detectors/undeclared-sockets.ts',
        'A socket that a serving process should not have is detected.',
        'A TCP socket of the gateway that is in no kernel table counts as a dead connection.',
      ),
      claim(
        'C23',
        'layers/6-intrusion/known-tools.ts',
        'Debuggers, memory readers and captures are detected by their effects, known tools by their executables.',
        'eBPF, perf events and other pid namespaces are not seen.',
      ),
      claim(
        'C24',
        'supervisor/intrusion/alarm.ts',
        'A confirmed violation wipes all conversations at once.',
        "An engine that has not exited on its own is killed after 150 ms; the kernel then clears llama.cpp's memory.",
      ),
      claim(
        'C25',
        'state/event-log.ts',
        'Only metadata about the violation is logged.',
        'A compromised process can choose at most 964 bits an hour of what is written (see below).',
      ),
      claim(
        'C26',
        'state/violation-marker.ts',
        'The server ends with exit code 16 and refuses to start in this boot until you acknowledge the violation.',
        'If no folder accepts the marker, only the exit code and the message report it.',
      ),
    ],
  },
];
