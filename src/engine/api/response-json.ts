/**
 * The bytes of every answer: completions, chunks of a stream, models, errors.
 *
 * Promise: content goes from its bytes into JSON bytes and is never a string; everything else is constants, numbers,
 *          the model's name and an id of random hexadecimal digits. Each function appends to a {@link ByteWriter} that
 *          the
 *          caller clears once the bytes are sent.
 * Limits:  content must be valid UTF-8 (see utf8.ts); in a stream that means cut at character borders too.
 * Source:  https://platform.openai.com/docs/api-reference/chat/object, HTML 9.2 (server-sent events)
 * Proof:   test/unit/engine/response-json.test.ts
 * @module
 */
import type { ByteWriter } from '../bytes/byte-writer.ts';
import type { FinishReason, RequestError, Usage } from '../types.ts';
import type { Item } from '../session/transcript.ts';

/** What every part of one answer repeats. */
export type CompletionHead = {
  /** `chatcmpl-` and random hexadecimal digits. */
  readonly id: string;
  /** Unix time in seconds. */
  readonly created: number;
  readonly model: string;
};

/** A model as `GET /v1/models` shows it. */
export type ModelEntry = { readonly id: string; readonly created: number };

function writeHead(out: ByteWriter, object: 'chat.completion' | 'chat.completion.chunk', head: CompletionHead): void {
  out
    .ascii('{"id":')
    .quoted(head.id)
    .ascii(`,"object":"${object}","created":${head.created},"model":`)
    .quoted(head.model)
    .ascii(',"system_fingerprint":null');
}

function writeUsageFields(out: ByteWriter, usage: Usage): void {
  out.ascii(
    `"usage":{"prompt_tokens":${usage.promptTokens},"completion_tokens":${usage.completionTokens},"total_tokens":${usage.promptTokens + usage.completionTokens}`,
  );
  if (usage.cachedTokens !== undefined) out.ascii(`,"prompt_tokens_details":{"cached_tokens":${usage.cachedTokens}}`);
  out.ascii('}');
}

/** Writes a whole `chat.completion`. */
export function writeCompletion(
  out: ByteWriter,
  head: CompletionHead,
  content: Uint8Array,
  finish: FinishReason,
  usage: Usage,
): void {
  writeHead(out, 'chat.completion', head);
  out.ascii(',"choices":[{"index":0,"message":{"role":"assistant","content":"').escaped(content);
  out.ascii(`","refusal":null},"logprobs":null,"finish_reason":"${finish}"}],`);
  writeUsageFields(out, usage);
  out.ascii('}');
}

/** One event of a stream around a single choice; with usage asked for, every chunk but the last says `null`. */
function writeChunk(
  out: ByteWriter,
  head: CompletionHead,
  includeUsage: boolean,
  finish: FinishReason | null,
  writeDelta: () => void,
): void {
  out.ascii('data: ');
  writeHead(out, 'chat.completion.chunk', head);
  out.ascii(',"choices":[{"index":0,"delta":{');
  writeDelta();
  out.ascii(
    `},"logprobs":null,"finish_reason":${finish === null ? 'null' : `"${finish}"`}}]${includeUsage ? ',"usage":null' : ''}}\n\n`,
  );
}

/** Writes the first chunk of a stream: the role, no content. */
export function writeRoleChunk(out: ByteWriter, head: CompletionHead, includeUsage: boolean): void {
  writeChunk(out, head, includeUsage, null, () => out.ascii('"role":"assistant","content":"","refusal":null'));
}

/** Writes a piece of the answer. */
export function writeContentChunk(
  out: ByteWriter,
  head: CompletionHead,
  content: Uint8Array,
  includeUsage: boolean,
): void {
  writeChunk(out, head, includeUsage, null, () => out.ascii('"content":"').escaped(content).ascii('"'));
}

/** Writes the chunk that says how the answer ended. */
export function writeFinishChunk(
  out: ByteWriter,
  head: CompletionHead,
  finish: FinishReason,
  includeUsage: boolean,
): void {
  writeChunk(out, head, includeUsage, finish, () => undefined);
}

/** Writes the chunk with the usage and no choices, which comes last when it was asked for. */
export function writeUsageChunk(out: ByteWriter, head: CompletionHead, usage: Usage): void {
  out.ascii('data: ');
  writeHead(out, 'chat.completion.chunk', head);
  out.ascii(',"choices":[],');
  writeUsageFields(out, usage);
  out.ascii('}\n\n');
}

/** Writes the end of a stream. */
export function writeDone(out: ByteWriter): void {
  out.ascii('data: [DONE]\n\n');
}

/** Writes an item of a conversation; its text goes from bytes to bytes. */
export function writeItem(out: ByteWriter, item: Pick<Item, 'id' | 'role' | 'text'>): void {
  const answer = item.role === 'assistant';
  out
    .ascii(
      `{"id":"msg_${item.id}","type":"message","status":"completed","role":"${item.role}","content":[{"type":"${answer ? 'output_text' : 'input_text'}","text":"`,
    )
    .escaped(item.text);
  out.ascii(answer ? '","annotations":[],"logprobs":[]}]}' : '"}]}');
}

/** Writes an error's body. */
export function writeError(
  out: ByteWriter,
  error: Pick<RequestError, 'message' | 'type' | 'parameter' | 'publicCode'>,
): void {
  out.ascii('{"error":{"message":').quoted(error.message).ascii(',"type":').quoted(error.type).ascii(',"param":');
  if (error.parameter === null) out.ascii('null');
  else out.quoted(error.parameter);
  out.ascii(',"code":').quoted(error.publicCode).ascii('}}');
}

/** Writes an error into a stream that has begun; nothing follows it. */
export function writeErrorEvent(
  out: ByteWriter,
  error: Pick<RequestError, 'message' | 'type' | 'parameter' | 'publicCode'>,
): void {
  out.ascii('data: ');
  writeError(out, error);
  out.ascii('\n\n');
}

/** Writes one model. */
export function writeModel(out: ByteWriter, model: ModelEntry): void {
  out.ascii('{"id":').quoted(model.id).ascii(`,"object":"model","created":${model.created},"owned_by":"kwyre"}`);
}

/** Writes the list of models. */
export function writeModels(out: ByteWriter, models: readonly ModelEntry[]): void {
  out.ascii('{"object":"list","data":[');
  models.forEach((model, i) => {
    if (i > 0) out.ascii(',');
    writeModel(out, model);
  });
  out.ascii(']}');
}
