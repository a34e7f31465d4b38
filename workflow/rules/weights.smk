# IN   resources/models.yaml
# OUT  the folder of downloaded weights, which lies outside the results


# on many clusters only the login node has a network
localrules:
    fetch_weights,


rule fetch_weights:
    """Download a file of weights; one that is there already is only checked."""
    output:
        # a file that a person has put there, or that took an hour to come, is never deleted
        weights=update(f"{WEIGHTS}/{{file}}"),
    log:
        out("logs/fetch_weights/{file}.log"),
    wildcard_constraints:
        file="|".join(map(re.escape, DOWNLOADS)),
    conda:
        "../../envs/fetch_weights.yaml"
    resources:
        runtime=240,
    params:
        # no digest of the code: the file is the one with this SHA-256, whatever fetches it
        script=script("fetch_weights"),
        models=os.path.relpath(weights.MODELS),
        name=lambda wildcards: DOWNLOADS[wildcards.file].name,
        sha256=lambda wildcards: DOWNLOADS[wildcards.file].sha256,
        folder=WEIGHTS,
    shell:
        "python {params.script} --models {params.models:q} --name {params.name}"
        " --folder {params.folder:q} > {log:q} 2>&1"
