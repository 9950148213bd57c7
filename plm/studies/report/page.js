"use strict";
// Tables sort by the column whose heading is clicked: numbers by value, other texts by letters.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    head.tabIndex = 0;
    const sort = () => {
      const falling = head.getAttribute("aria-sort") !== "descending";
      heads.forEach((each) => each.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", falling ? "descending" : "ascending");
      const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
      const rows = [...table.tBodies[0].rows];
      rows.sort((left, right) => {
        const [a, b] = [key(left), key(right)];
        const [x, y] = [parseFloat(a), parseFloat(b)];
        const order = Number.isNaN(x) || Number.isNaN(y)
          ? Number.isNaN(y) - Number.isNaN(x) || a.localeCompare(b) : x - y;
        return falling ? -order : order;
      });
      table.tBodies[0].append(...rows);
    };
    head.addEventListener("click", sort);
    head.addEventListener("keydown", (event) => { if (event.key === "Enter") sort(); });
  });
}
