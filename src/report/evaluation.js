const list = document.querySelector(".pairs");
const buttons = [...document.querySelectorAll(".sort button")];
const value = (pair, key) => (key === "index" ? Number(pair.dataset.index) : Number(pair.dataset[key]));
let [key, worstFirst] = ["index", false];

const sort = () => {
  const lowerIsBetter = key === "l1" || key === "index";
  const sign = lowerIsBetter === worstFirst ? -1 : 1;
  const pairs = [...list.children];
  pairs.sort((a, b) => {
    const [x, y] = [value(a, key), value(b, key)];
    return (x === y ? 0 : sign * (x < y ? -1 : 1)) || a.dataset.index - b.dataset.index;
  });
  list.append(...pairs);
  for (const button of buttons) {
    const chosen = button.dataset.key === key;
    button.setAttribute("aria-pressed", chosen);
    const order = key === "index" ? (worstFirst ? " ↑" : " ↓") : (worstFirst ? ", worst first" : ", best first");
    button.textContent = button.dataset.name + (chosen ? order : "");
  }
};

for (const button of buttons) {
  button.addEventListener("click", () => {
    // A metric shows its worst pairs first; a second click turns the order round.
    worstFirst = button.dataset.key === key ? !worstFirst : button.dataset.key !== "index";
    key = button.dataset.key;
    sort();
  });
}
sort();
