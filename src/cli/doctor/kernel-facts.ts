/**
 * The facts for `kwyre doctor` that need native code. This module is imported only after every installed file has been
 * compared with the published one.
 * @module
 */
import * as fs from 'node:fs';
import { KwyreError } from '../../base/errors.ts';
import { guideModel } from '../../layers/4-model/guide-digest.ts';
import { verifyModel } from '../../layers/4-model/model-verifier.ts';
import { LinuxError } from '../../linux/ffi.ts';
import { landlockAbi } from '../../linux/landlock.ts';
import { makeSecretMemory } from '../../linux/memory/mapped-memory.ts';
import { closeDescriptor } from '../../linux/sockets/socket.ts';
import type { KernelFacts, ModelState } from './types.ts';

function secretMemoryFault(): string | undefined {
  try {
    closeDescriptor(makeSecretMemory(4096));
    return undefined;
  } catch (error) {
    if (!(error instanceof LinuxError)) throw error;
    return `the kernel refuses memfd_secret (${error.code})`;
  }
}

async function guideState(root: string): Promise<ModelState> {
  const model = guideModel(root);
  try {
    const { weights } = await verifyModel(model, { disk: fs, mode: 'file', availableBytes: 0, now: Date.now });
    for (const { fd } of weights) fs.closeSync(fd);
    return { name: model.name, fault: undefined };
  } catch (error) {
    if (!(error instanceof KwyreError)) throw error;
    return { name: model.name, fault: error.message.split('\n')[0] ?? error.code };
  }
}

/** Queries the kernel, and verifies the guide model as the server does when it starts. */
export async function askKernel(root: string): Promise<KernelFacts> {
  return { landlockAbi: landlockAbi(), secretMemoryFault: secretMemoryFault(), models: [await guideState(root)] };
}
