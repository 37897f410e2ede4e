// What both pages do.

/** Sets up a page, given how it connects. */
export function measured(connect) {
  let client;

  window.start = async (url) => {
    client = await connect(url);
  };

  window.oneByOne = async (count) => {
    for (let number = 0; number < count; number += 1) await client.call(number);
  };

  window.atOnce = async (count) => {
    for (let number = 0; number < count; number += 50) {
      await Promise.all(Array.from({ length: 50 }, () => client.call(number)));
    }
  };

  window.items = (count) =>
    new Promise((resolve, reject) => {
      let taken = 0;
      const onData = () => {
        taken += 1;
      };
      const onComplete = () =>
        taken === count ? resolve() : reject(new Error(`${taken} of ${count} items came`));
      client.subscribe(count, onData, onComplete);
    });
}
