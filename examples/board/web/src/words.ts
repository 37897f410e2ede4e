import { RealtimeError } from "realtime-client";

/** Returns the error of each field of an input, by its name. */
export function fieldsOf(error: unknown): Readonly<Record<string, string>> {
  if (!(error instanceof RealtimeError) || error.code !== "INVALID_ARGUMENT") return {};
  const { details, message } = error;
  // A value of another type is one field, others may be several.
  const fields = (Array.isArray(details) ? details : [details]) as { path?: string; message?: string }[];
  return Object.fromEntries(fields.map((field) => [field?.path ?? "", field?.message ?? message]));
}

/** An error for people. */
export function wordsOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.charAt(0).toUpperCase() + text.slice(1);
}
