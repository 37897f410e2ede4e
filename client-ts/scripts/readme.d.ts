// The application around the code of ../README.md, whose types ../test/readme.test.ts checks.

interface Change {
  readonly card: string;
}

interface Loaded {
  readonly loaded: { readonly board: string[]; readonly position: import("../src/index.js").Position };
  readonly reload: () => void;
}

declare const client: import("../src/index.js").AnyClient;
declare const endpoint: import("../src/index.js").Endpoint;
declare const api: { readonly add: import("../src/index.js").Procedure<number, number> };
declare const names: {
  readonly changes: import("../src/index.js").Subscription<{ id: number }, Change>;
  readonly move: import("../src/index.js").Procedure<Change, null>;
};
declare const session: { token(): string };
declare const signal: AbortSignal;

declare function show(...what: unknown[]): void;
declare function reload(gap: object): void;
declare function apply(change: Change): void;
declare function apply(board: string[], change: Change): string[];
declare function Cards(props: {
  cards: string[] | undefined;
  offline: boolean;
  onMove(change: Change): unknown;
}): null;

declare module "vue" {
  export function shallowRef<T>(value: T): { value: T };
  export function readonly<T>(value: T): Readonly<T>;
  export function onScopeDispose(end: () => void): void;
}
