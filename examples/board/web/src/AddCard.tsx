import { type SubmitEvent, useId } from "react";
import { useMutation } from "realtime-client/react";
import { api } from "./api.js";
import { fieldsOf, wordsOf } from "./words.js";

/** A form whose fields the server checks. */
export function AddCard({ tell }: { tell: (news: string) => void }) {
  const add = useMutation(api.cards.add);
  const wrong = fieldsOf(add.error);
  const submit = async (event: SubmitEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = event.currentTarget;
    const data = new FormData(form);
    try {
      const card = await add.call({ title: `${data.get("title")}`, points: Number(data.get("points")) });
      tell(`Added “${card.title}”`);
      form.reset();
      form.querySelector("input")?.focus();
    } catch (error) {
      const [first] = Object.keys(fieldsOf(error));
      form.querySelector<HTMLInputElement>(`[name="${first ?? "title"}"]`)?.focus();
    }
  };
  return (
    <form className="panel" onSubmit={submit} noValidate data-testid="form">
      <h2>Add a card</h2>
      <div className="fields">
        <Field name="title" label="Title" wrong={wrong.title} autoComplete="off" />
        <Field name="points" label="Points" wrong={wrong.points} type="number" defaultValue="1" />
      </div>
      {add.error !== undefined && Object.keys(wrong).length === 0 && <p className="wrong">{wordsOf(add.error)}</p>}
      <button type="submit" disabled={add.isPending}>
        Add
      </button>
    </form>
  );
}

interface FieldProps extends React.ComponentProps<"input"> {
  name: string;
  label: string;
  wrong: string | undefined;
}

function Field({ label, wrong, ...input }: FieldProps) {
  const id = useId();
  return (
    <div className={`field ${input.name}`}>
      <label htmlFor={id}>{label}</label>
      <input id={id} aria-invalid={wrong !== undefined} aria-describedby={`${id}-wrong`} {...input} />
      <p id={`${id}-wrong`} className="wrong" aria-live="polite">
        {wrong}
      </p>
    </div>
  );
}
