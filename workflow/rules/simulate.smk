# IN   the demo's sheet: how each field is to be drawn (its x_ columns)
# OUT  results/simulated/{field}.ome.tif with its truth


rule simulate:
    """Draw a field for the demo."""
    output:
        image="results/simulated/{field}.ome.tif",
        labels="results/simulated/{field}.labels.tif",
        truth="results/simulated/{field}.cells.tsv",
    log:
        out("logs/simulate/{field}.log"),
    conda:
        "../../envs/simulate.yaml"
    resources:
        mem_mb=mem_mb,
        runtime=30,
    params:
        code=code("simulate"),
        script=script("simulate"),
        seed=sheet("x_seed"),
        slide_seed=sheet("x_slide_seed"),
        nuclei=sheet("x_nuclei"),
        abnormal=sheet("x_abnormal"),
    shell:
        "python {params.script} --seed {params.seed} --slide-seed {params.slide_seed}"
        " --nuclei {params.nuclei} --abnormal {params.abnormal}"
        " --image {output.image:q} --labels {output.labels:q} --truth {output.truth:q}"
        " > {log:q} 2>&1"
