import { expect, test, vi } from "vitest";
import { Cell, Listeners } from "./store.js";

test("a cell tells the present value at once, then each other one", () => {
  const cell = new Cell(1);
  const told: number[] = [];
  const stop = cell.subscribe((value) => told.push(value));
  cell.set(2);
  cell.set(2);
  stop();
  cell.set(3);
  expect(told).toEqual([1, 2]);
  expect(cell.get()).toBe(3);
  expect(cell.isUnused).toBe(true);
});

test("a listener that fails is logged, and the others are told", () => {
  const logged = vi.spyOn(console, "error").mockImplementation(() => {});
  const listeners = new Listeners<number>();
  const told: number[] = [];
  listeners.add(() => {
    throw new Error("on purpose");
  });
  listeners.add((value) => told.push(value));
  listeners.tell(1);
  expect(told).toEqual([1]);
  expect(logged).toHaveBeenCalledTimes(1);
  logged.mockRestore();
});

test("each of two that are one function is removed by its own stop, and twice is once", () => {
  const listeners = new Listeners<number>();
  const listener = vi.fn();
  const stop = listeners.add(listener);
  listeners.add(listener);
  stop();
  stop();
  listeners.tell(1);
  expect(listener).toHaveBeenCalledTimes(1);
});
