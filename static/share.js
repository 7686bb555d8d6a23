// The page of a share link: its tab says how far the job is, and what it shows carries the job's state.
document.addEventListener("jalebi:change", (event) => {
  const job = event.detail, shown = document.querySelector("[data-job]");
  const fraction = job.progress?.fraction;
  shown.dataset.state = job.state;
  document.title = `${job.kind}: ${job.state === "running" && fraction != null ? `${Math.floor(fraction * 100)} %` : job.state}`;
});
