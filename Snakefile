from snakemake.utils import min_version

min_version("9.27")


configfile: f"{workflow.basedir}/config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/simulate.smk"
include: "workflow/rules/weights.smk"
include: "workflow/rules/segmentation.smk"
include: "workflow/rules/pseudo_labels.smk"
include: "workflow/rules/finetune.smk"
include: "workflow/rules/anomaly.smk"
include: "workflow/rules/calls.smk"
include: "workflow/rules/results.smk"
include: "workflow/rules/benchmark.smk"


rule all:
    default_target: True
    input:
        out("report/index.html"),
        exports(),


onsuccess:
    # other targets than all may have made another page, or none
    for page in ("report", "benchmark"):
        if Path(out(f"{page}/index.html")).exists():
            print(f"The {page} is at {out(f'{page}/index.html')}")
