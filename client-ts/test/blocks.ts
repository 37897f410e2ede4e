/** A block of code of a page in Markdown. */
export interface Block {
  readonly language: string;
  readonly code: string;
  /** The name that stands above it, where it is that of a file. */
  readonly file: string | undefined;
}

/** The blocks of code of a page in Markdown. */
export function blocksOf(text: string): Block[] {
  const blocks = text.matchAll(/(?:^`([\w.]+)`\n\n)?^```(\w+)\n([\s\S]*?)^```$/gm);
  return [...blocks].map(([, file, language = "", code = ""]) => ({ file, language, code }));
}
